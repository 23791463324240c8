package soak

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// TestHangingConfigs: one change of an organization goes to 60 configs whose endpoints hang. Nobody could know it the first
// time; from then on they are in the slow lane.
func TestHangingConfigs(t *testing.T) {
	scenario(t, true)
	w := newWorld(t, 1, "-parameter", "DeliverConcurrency=2")
	const hanging, rounds = 60, 4
	w.register("org_b", "neighbour")
	for n := range hanging {
		w.register("org_a", fmt.Sprint("hanging_", n))
	}
	w.know("org_b", "neighbour", 1)
	known := w.change("org_a", 1)
	for n := range hanging {
		w.delivers(fmt.Sprint("hanging_", n), known, patience)
	}
	alone := w.send("org_b", "neighbour", 1)
	measured.row(t, true, "neighbour alone", "", "%s", brief(alone))
	for n := range hanging {
		w.answer(fmt.Sprint("hanging_", n), hang)
	}
	const deadline = 15 * time.Second // of an attempt
	for round := range rounds {
		theirs := w.change("org_a", 1)
		if round == 0 {
			w.sent("hanging_0", theirs, patience)
		}
		took := w.send("org_b", "neighbour", 1)
		limit, must := deadline+2*time.Second, "at most one attempt's deadline, 15 s"
		if round > 0 {
			limit, must = time.Second, "under 1 s"
		}
		measured.row(t, took < limit, fmt.Sprintf("neighbour beside 60 that hang, change %d", round+1), must, "%s", brief(took))
		if round == 0 { // two batches of ten at a time: until then others hang for the first time
			for n := range hanging {
				w.sent(fmt.Sprint("hanging_", n), theirs, 2*patience)
			}
			w.pass(deadline)
			eventually(t, patience, "the end of the first attempts", func() bool { return w.depth("DeliveryQueue").all() == 0 })
		}
	}
	w.audit(2 * hanging) // attempts that have begun
}

// TestSlowTenant: two organizations change documents at the same time. What the first one's take beside a slow endpoint
// is compared with what they take beside a fast one, in alternating rounds.
func TestSlowTenant(t *testing.T) {
	scenario(t, true)
	w := newWorld(t, 1, "-parameter", "DeliverConcurrency=10")
	const documents, rounds = 500, 3
	w.register("org_a", "measured")
	w.register("org_b", "fast")
	w.register("org_c", "slow")
	w.answer("slow", after(2*time.Second))
	for organization, endpoint := range map[string]string{"org_a": "measured", "org_b": "fast", "org_c": "slow"} {
		w.know(organization, endpoint, 20)
	}
	beside := func(organization string) time.Duration {
		began := time.Now()
		mine, theirs := w.interleave("org_a", organization, documents)
		w.sent("measured", mine, 2*patience)
		took := w.lasted(began, "measured", mine)
		endpoint := map[string]string{"org_b": "fast", "org_c": "slow"}[organization]
		w.delivers(endpoint, theirs, 10*patience)
		return took
	}
	var fast, slow []time.Duration
	for range rounds {
		fast, slow = append(fast, beside("org_b")), append(slow, beside("org_c"))
	}
	ratio := median(slow).Seconds() / median(fast).Seconds()
	measured.row(t, true, "500 changes beside 500 to a fast endpoint, median of 3", "", "%s", brief(median(fast)))
	measured.row(
		t, ratio <= 1.2, "500 changes beside 500 to one that takes 2 s, median of 3", "at most 1.2 times",
		"%s, %.2f times", brief(median(slow)), ratio,
	)
	w.audit(0)
}

// TestUnreadableConfig: a config that cannot be read delays nobody, and no other config of its organization.
func TestUnreadableConfig(t *testing.T) {
	scenario(t, false)
	const documents = 40
	for name, spoil := range map[string]func(w *world){
		"a field of another type": func(w *world) {
			c := w.register("org_a", "spoiled")
			w.update(c, "SET subscribed_statuses = :v", &types.AttributeValueMemberS{Value: "processed"})
		},
		"an id that is none": func(w *world) {
			c := w.register("org_a", "spoiled")
			w.copyAs(c, "bad id")
			w.call("org_a", http.MethodDelete, "/configs/"+c.id, "", "", nil)
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, 1)
			w.register("org_a", "sound")
			w.register("org_b", "neighbour")
			w.know("org_a", "sound", 10)
			w.know("org_b", "neighbour", 10)
			var alone, beside []time.Duration
			for range 3 {
				w.change("org_a", documents)
				alone = append(alone, w.send("org_b", "neighbour", documents))
			}
			spoil(w)
			var sound []document
			for range 3 {
				sound = append(sound, w.change("org_a", documents)...)
				beside = append(beside, w.send("org_b", "neighbour", documents))
			}
			w.notDelayed(alone, beside)
			w.delivers("sound", sound, patience)
			got := w.accepted("sound", sound)
			measured.row(t, got == len(sound), "deliveries to the organization's other config", "all", "%d of %d", got, len(sound))
		})
	}
}

// notDelayed compares medians. A quarter of a second is what the machine's other work makes of nothing.
func (w *world) notDelayed(alone, beside []time.Duration) {
	w.t.Helper()
	a, b := median(alone), median(beside)
	good := b <= a*6/5+250*time.Millisecond
	measured.row(
		w.t, good, "40 changes of the other organization, median of 3", "as before: at most 1.2 times and 0.25 s",
		"%s, before %s", brief(b), brief(a),
	)
}

// update changes a config's item behind the API's back.
func (w *world) update(c *config, expression string, value types.AttributeValue) {
	w.t.Helper()
	_, err := w.dynamo.UpdateItem(w.t.Context(), &dynamodb.UpdateItemInput{
		TableName: aws.String("ConfigsTable"), Key: w.key(c.organization, c.id), UpdateExpression: &expression,
		ExpressionAttributeValues: map[string]types.AttributeValue{":v": value},
	})
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) key(organization, id string) map[string]types.AttributeValue {
	return map[string]types.AttributeValue{
		"organization_id": &types.AttributeValueMemberS{Value: organization}, "id": &types.AttributeValueMemberS{Value: id},
	}
}

// copyAs puts a copy of an active config's item under another id.
func (w *world) copyAs(c *config, id string) {
	w.t.Helper()
	table := aws.String("ConfigsTable")
	got, err := w.dynamo.GetItem(w.t.Context(), &dynamodb.GetItemInput{TableName: table, Key: w.key(c.organization, c.id)})
	if err != nil {
		w.t.Fatal(err)
	}
	got.Item["id"] = &types.AttributeValueMemberS{Value: id}
	got.Item["state_id"] = &types.AttributeValueMemberS{Value: "active#" + id}
	if _, err := w.dynamo.PutItem(w.t.Context(), &dynamodb.PutItemInput{TableName: table, Item: got.Item}); err != nil {
		w.t.Fatal(err)
	}
}

// TestThrottledPartition: the configs of one organization can hardly be read. The other's changes are in the same lanes of
// the stream and are not held up.
func TestThrottledPartition(t *testing.T) {
	scenario(t, false)
	const documents = 40
	w := newWorld(t, 20)
	w.register("org_a", "throttled")
	w.register("org_b", "neighbour")
	w.know("org_a", "throttled", 10)
	w.know("org_b", "neighbour", 10)
	var alone, beside []time.Duration
	for range 3 {
		w.change("org_a", documents)
		alone = append(alone, w.send("org_b", "neighbour", documents))
	}
	w.faults(fault{Function: "DispatchFunction", Operation: "Query", Contains: "org_a", Kind: "throttled", Probability: 0.95})
	var theirs []document
	for range 3 {
		theirs = append(theirs, w.change("org_a", documents)...)
		beside = append(beside, w.send("org_b", "neighbour", documents))
	}
	w.notDelayed(alone, beside)
	w.faults()
	w.delivers("throttled", theirs, 3*patience)
	got := w.accepted("throttled", theirs)
	measured.row(t, got == len(theirs), "deliveries of the throttled organization afterwards", "all", "%d of %d", got, len(theirs))
	w.audit(0)
}
