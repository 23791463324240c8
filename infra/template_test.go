package infra_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/docuhook/docuhook/shared/delivery"
	"github.com/docuhook/docuhook/shared/webhook"
)

// templateSource returns the source of template.yaml.
func templateSource(t *testing.T) []byte {
	t.Helper()
	source, err := os.ReadFile("../template.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return source
}

// parseTemplate reads template.yaml into document. The tags of intrinsic functions are passed over, so that
// `!Ref AlarmTopic` reads as "AlarmTopic".
func parseTemplate(t *testing.T, document any) {
	t.Helper()
	if err := yaml.Unmarshal(templateSource(t), document); err != nil {
		t.Fatal(err)
	}
}

// resources returns the types of the template's resources, by their logical ids.
func resources(t *testing.T) map[string]string {
	t.Helper()
	var document struct {
		Resources map[string]struct {
			Type string `yaml:"Type"`
		} `yaml:"Resources"`
	}
	parseTemplate(t, &document)
	types := map[string]string{}
	for id, resource := range document.Resources {
		types[id] = resource.Type
	}
	return types
}

func TestNothingWithDataIsDeletedWithTheStack(t *testing.T) {
	var document struct {
		Resources map[string]struct {
			Type                string         `yaml:"Type"`
			DeletionPolicy      string         `yaml:"DeletionPolicy"`
			UpdateReplacePolicy string         `yaml:"UpdateReplacePolicy"`
			Properties          map[string]any `yaml:"Properties"`
		} `yaml:"Resources"`
	}
	parseTemplate(t, &document)
	kinds := []string{"AWS::DynamoDB::Table", "AWS::SQS::Queue", "AWS::SecretsManager::Secret", "AWS::Logs::LogGroup"}
	found := map[string]bool{}
	for id, resource := range document.Resources {
		if !slices.Contains(kinds, resource.Type) {
			continue
		}
		found[resource.Type] = true
		if resource.DeletionPolicy != "RetainExceptOnCreate" || resource.UpdateReplacePolicy != "Retain" {
			t.Errorf("%s is not retained", id)
		}
		_, protected := resource.Properties["DeletionProtectionEnabled"]
		if resource.Type == "AWS::DynamoDB::Table" && !protected {
			t.Errorf("%s is not protected against deletion in production", id)
		}
		_, retention := resource.Properties["RetentionInDays"]
		if resource.Type == "AWS::Logs::LogGroup" && !retention {
			t.Errorf("%s grows forever", id)
		}
	}
	if len(found) != len(kinds) {
		t.Errorf("the template has only %v", found)
	}
}

// TestRunbookHasTheNumbersOfTheTemplate holds what the runbook says to what the template sets.
func TestRunbookHasTheNumbersOfTheTemplate(t *testing.T) {
	source := templateSource(t)
	runbook := pages(t)["infra/runbook.md"]
	for _, number := range []struct {
		resource, setting string
		says              []string
	}{
		{resource: "DispatchFunction", setting: `MaximumRecordAgeInSeconds: 21600`, says: []string{
			"could not be dispatched for 6 hours", "At 6 hours records begin to go", "leaves its records in the stream, for 6 hours",
		}},
		{resource: "DispatchFunction", setting: `BatchSize: 100\n`, says: []string{"ten batches of 100 records of each shard"}},
		{resource: "DispatchFunction", setting: `Timeout: 60\n`, says: []string{"dispatch has crashed, run into its timeout of 60 s"}},
		{
			resource: "DispatchFunction",
			setting:  `RecursiveLoop: Allow`,
			says:     []string{"`RecursiveLoop` of both functions is still `Allow`"},
		},
		{
			resource: "DeliverFunction",
			setting:  `RecursiveLoop: Allow`,
			says:     []string{"`RecursiveLoop` of both functions is still `Allow`"},
		},
		{resource: "DeliverFunction", setting: `Timeout: 60\n`, says: []string{"deliver has crashed, run into its timeout of 60 s"}},
		{resource: "DeliverFunction", setting: `(?s)BatchSize: 10\n.*BatchSize: 10\n`, says: []string{"× 10 (messages of a batch)"}},
		{resource: "SweepFunction", setting: `Timeout: 60\n`, says: []string{"ran into its timeout of 60 s"}},
		{
			resource: "SweepFunction",
			setting:  `Schedule: rate\(1 minute\)`,
			says:     []string{"the sweep, each minute, sends one", "invokes SweepFunction each minute"},
		},
		{
			resource: "DeliveryQueue",
			setting:  `VisibilityTimeout: 360`,
			says:     []string{"come back after 6 minutes", "turned away five times, for half an hour"},
		},
		{resource: "RetryQueue", setting: `VisibilityTimeout: 360`, says: []string{"come back after 6 minutes"}},
		{resource: "DeliveryQueue", setting: `MessageRetentionPeriod: 1209600`, says: []string{
			"a message in any queue for 14 days", "Nothing is lost for 14 days",
		}},
		{resource: "RetryQueue", setting: `MessageRetentionPeriod: 1209600`, says: []string{"a message in any queue for 14 days"}},
		{resource: "DispatchRetryQueue", setting: `MessageRetentionPeriod: 1209600`, says: []string{"a message in any queue for 14 days"}},
		{
			resource: "DispatchFailureQueue",
			setting:  `MessageRetentionPeriod: 1209600`,
			says:     []string{"a message in any queue for 14 days"},
		},
		{resource: "DeliveryDeadLetterQueue", setting: `MessageRetentionPeriod: 1209600`, says: []string{"expire 14 days after"}},
		{resource: "DeliveryQueue", setting: `maxReceiveCount: 5`, says: []string{"messages were received five times"}},
		{
			resource: "RetryQueue",
			setting:  `maxReceiveCount: 5`,
			says:     []string{"messages were received five times", "five attempts with the usual delays"},
		},
		{resource: "DispatchRetryQueue", setting: `maxReceiveCount: 5`, says: []string{"the dead-letter queue of all three queues"}},
		{
			resource: "RetryDelays",
			setting:  `Default: day\n`,
			says:     []string{"a day with the default `RetryDelays`", "a day before the loss with the default `RetryDelays`"},
		},
		{resource: "EndpointFailureThreshold", setting: `Default: 20\n`, says: []string{"(`EndpointFailureThreshold`, 20 in a row"}},
		{resource: "AuthorizerCacheSeconds", setting: `Default: 60\n`, says: []string{"`AuthorizerCacheSeconds` at most (60 s)"}},
		{
			resource: "DispatchAgeAlarm",
			setting:  `EvaluationPeriods: 5\n.*\n +Threshold: 300000`,
			says:     []string{"reads the stream more than 5 minutes late"},
		},
		{
			resource: "DispatchRetryQueueAlarm",
			setting:  `(?s)Period: 300\n.*EvaluationPeriods: 3\n`,
			says:     []string{"for 15 minutes changes of documents have been waiting"},
		},
		{resource: "DeliveryAgeAlarm", setting: `Threshold: 900 `, says: []string{"a message has been in DeliveryQueue for 15 minutes"}},
		{resource: "RetryAgeAlarm", setting: `Threshold: 2700 `, says: []string{"a message has been in RetryQueue for 45 minutes"}},
		{resource: "DeliveryBacklogAlarm", setting: `Period: 300\n +EvaluationPeriods: 3\n.*\n +Threshold: 500\n`, says: []string{
			"for 15 minutes there were always more than 500 messages due in DeliveryQueue",
		}},
		{resource: "RetryBacklogAlarm", setting: `Period: 900\n +EvaluationPeriods: 4\n.*\n +Threshold: 200\n`, says: []string{
			"for an hour there were always more than 200 messages due in RetryQueue",
		}},
		{
			resource: "SweepAgeAlarm",
			setting:  `Period: 60\n +EvaluationPeriods: 5\n.*\n +Threshold: 600000 .*\n +TreatMissingData: breaching`,
			says: []string{
				"for 5 minutes deliveries have been due for more than 10 minutes", "the one alarm that missing data raises",
			},
		},
		{
			resource: "WaitingDeliveriesAlarm",
			setting:  `Threshold: 100000\n`,
			says:     []string{"more than 100,000 deliveries wait for a retry"},
		},
		{resource: "FailedAttemptsAlarm", setting: `attempts >= 50`, says: []string{"with at least 50 attempts in each 5 minutes"}},
		{
			resource: "FailedAttemptsAlarm",
			setting:  `EvaluationPeriods: 3\n.*\n +Threshold: 50\n`,
			says:     []string{"for 15 minutes more than half of all attempts have failed"},
		},
		{
			resource: "PutBackAlarm",
			setting:  `Period: 900\n +EvaluationPeriods: 3`,
			says:     []string{"for 45 minutes deliveries could not even be attempted"},
		},
		{
			resource: "SweepErrorsAlarm",
			setting:  `Period: 300\n +EvaluationPeriods: 3`,
			says:     []string{"in each of three times 5 minutes the sweep has failed"},
		},
		{resource: "ApiErrorsAlarm", setting: `Threshold: 5\n`, says: []string{"at least five requests within 5 minutes"}},
	} {
		block := regexp.MustCompile(`(?s)\n  ` + number.resource + `:\n.*?\n(?:\n|  [A-Z])`).FindString(string(source))
		if !regexp.MustCompile(number.setting).MatchString(block) {
			t.Errorf("%s does not set %s any more", number.resource, number.setting)
		}
		for _, text := range number.says {
			if !says(runbook, text) {
				t.Errorf("%s sets %s, but the runbook does not say %q", number.resource, number.setting, text)
			}
		}
	}
}

// TestPagesHaveTheNumbersOfTheRules holds what the pages say to numbers that the packages keep to themselves.
func TestPagesHaveTheNumbersOfTheRules(t *testing.T) {
	texts := pages(t)
	if day := total(schedule(t, "day")); day < 23*time.Hour || day > 25*time.Hour {
		t.Errorf("a round takes %s, the pages say a day", day)
	}
	if fast := total(schedule(t, "fast")); int(fast.Minutes()) != 21 {
		t.Errorf("a round takes %s, the pages say 21 minutes", fast)
	}
	for _, number := range []struct {
		file, code string
		says       map[string][]string // by page
	}{
		{
			file: "shared/delivery/schedule.go",
			code: `"day": +\{10 \* time.Second, 5 \* time.Minute, 90 \* time.Minute, 22 \* time.Hour\}`,
			says: map[string][]string{
				"infra/runbook.md": {"`day` (10 s, 5 min, 90 min, 22 h)"}, "infra/alternatives.md": {"a day, or 21 min, or as configured"},
			},
		},
		{
			file: "shared/delivery/schedule.go",
			code: `"fast": +\{10 \* time.Second, time.Minute, 5 \* time.Minute, 15 \* time.Minute\}`,
			says: map[string][]string{
				"infra/runbook.md": {"21 minutes with `fast` (10 s, 1, 5 and 15 min)"},
			},
		},
		{file: "shared/delivery/schedule.go", code: `maxRetryAfter = 24 \* time.Hour`, says: map[string][]string{
			"README.md": {"lengthens a delay, to 24 hours at most"}, "infra/limits.md": {"by `Retry-After` up to 24 hours"},
		}},
		{file: "shared/delivery/schedule.go", code: `maxScheduled = 7 \* 24 \* time.Hour`, says: map[string][]string{
			"README.md": {"four numbers of seconds of up to 7 days"}, "infra/limits.md": {"by `RetryDelays` up to 7 days"},
		}},
		{file: "shared/delivery/schedule.go", code: `jitter += 0\.2`, says: map[string][]string{"README.md": {"each ±20 %"}}},
		{file: "shared/delivery/attempt.go", code: `copiedFor = 4 \* 24 \* time.Hour`, says: map[string][]string{
			"infra/runbook.md": {"first ones in RetryQueue for up to four days"}, "infra/limits.md": {"4 days, then the dead-letter queue"},
		}},
		{file: "shared/delivery/attempt.go", code: `\{1: 30 \* time.Second, 2: 2 \* time.Minute\}`, says: map[string][]string{
			"infra/runbook.md": {"come back after 30 s, 2 min and each 15 min, for 4 days"},
		}},
		{
			file: "shared/delivery/attempt.go",
			code: `copyDelay = webhook.MaxDelay`,
			says: map[string][]string{"infra/runbook.md": {"first attempts within 15 minutes"}},
		},
		{file: "shared/webhook/outcome.go", code: `MaxDelay = 15 \* time.Minute`, says: map[string][]string{
			"infra/runbook.md": {
				"A message waits there for its attempt, for 15 minutes at most",
				"retries that are due within 15 minutes go on",
			},
			"infra/architecture.md": {"If the next one is due within 15 minutes"},
		}},
		{file: "shared/webhook/outcome.go", code: `wakeAfter = 15 \* time.Minute`, says: map[string][]string{
			"infra/runbook.md": {"it looks again after 15, 30, 60 min and so on, from a day on daily"},
		}},
		{file: "shared/webhook/delivery.go", code: `OverdueAfter = time.Hour`, says: map[string][]string{
			"README.md":        {"is overdue by an hour"},
			"infra/runbook.md": {"by `scope: failed` an hour later", "sent less than an hour ago is taken to be on its way"},
		}},
		{file: "shared/webhook/config.go", code: `fastDuration = time.Second`, says: map[string][]string{
			"README.md": {"have lately answered within a second"}, "infra/runbook.md": {"whose endpoints answer within a second"},
		}},
		{
			file: "shared/delivery/delivery.go",
			code: `logTimeout += 20 \* time.Second`,
			says: map[string][]string{"infra/runbook.md": {"although that was tried for 20 s"}},
		},
		{file: "shared/delivery/health.go", code: `failingFor = 24 \* time.Hour`, says: map[string][]string{
			"README.md": {"in a row without a success for a day"}, "infra/runbook.md": {"20 in a row, the first of them a day ago"},
		}},
		{file: "shared/dispatch/wait.go", code: `copyDelay = 15 \* time.Minute`, says: map[string][]string{
			"infra/runbook.md": {"tried three times within 3 minutes, and again so after each quarter of an hour"},
		}},
		{file: "shared/dispatch/wait.go", code: `copiedFor = 4 \* 24 \* time.Hour`, says: map[string][]string{
			"infra/runbook.md": {
				"after each quarter of an hour, for four days",
				"or in DispatchRetryQueue if they are of one organization, for 4 days",
			},
		}},
		{
			file: "shared/api/resend.go",
			code: `maxResend = 100`,
			says: map[string][]string{"infra/limits.md": {"| Resending a period, by one call | 100 deliveries"}},
		},
	} {
		source, err := os.ReadFile("../" + number.file)
		if err != nil {
			t.Fatal(err)
		}
		if !regexp.MustCompile(number.code).Match(source) {
			t.Errorf("%s does not say %s any more", number.file, number.code)
		}
		for page, sentences := range number.says {
			for _, sentence := range sentences {
				if !says(texts[page], sentence) {
					t.Errorf("%s says %s, but %s does not say %q", number.file, number.code, page, sentence)
				}
			}
		}
	}
}

// TestRunbookHasTheConcurrencyOfTheTemplate holds the runbook's table to the mapping, and the mapping to what a new
// account has.
func TestRunbookHasTheConcurrencyOfTheTemplate(t *testing.T) {
	var document struct {
		Mappings struct {
			Concurrency map[string]map[string]int `yaml:"Concurrency"`
		} `yaml:"Mappings"`
	}
	parseTemplate(t, &document)
	production, sandbox := document.Mappings.Concurrency["production"], document.Mappings.Concurrency["sandbox"]
	const sweep, api, newAccount = 1, 2, 10
	sums := [2]int{sweep + api, sweep + api}
	for kind := range production {
		sums[0], sums[1] = sums[0]+production[kind], sums[1]+sandbox[kind]
	}
	if sums[1] > newAccount {
		t.Errorf("a sandbox needs %d, a new account has %d", sums[1], newAccount)
	}
	row := func(what, kind string) string {
		return fmt.Sprintf("| %s | %d | %d |", what, production[kind], sandbox[kind])
	}
	perSecond := func(kind string, batch float64) int { return int(float64(production[kind]*10) / batch) }
	texts := pages(t)
	for page, sentences := range map[string][]string{
		"README.md": {fmt.Sprintf("may run %d functions at once", newAccount)},
		"infra/runbook.md": {
			row("deliver, DeliveryQueue (`DeliverConcurrency`)", "DeliveryQueue"),
			row("deliver, RetryQueue (`RetryConcurrency`)", "RetryQueue"),
			row("dispatch, DispatchRetryQueue", "DispatchRetryQueue"),
			row("dispatch, for each shard of the documents' stream", "DispatchParallelization"),
			fmt.Sprintf("| sweep | %d | %d |", sweep, sweep),
			fmt.Sprintf("| left to the API | %d | %d |", api, api),
			fmt.Sprintf("| Sum, with one shard | %d | %d |", sums[0], sums[1]),
			fmt.Sprintf("%d in production, %d in a sandbox |", sums[0], sums[1]),
			fmt.Sprintf("new accounts %d |", newAccount),
			fmt.Sprintf("with %d instances: 1,000 a second at half a second", production["DeliveryQueue"]),
			fmt.Sprintf("RetryQueue with %d instances: %d a second", production["RetryQueue"], perSecond("RetryQueue", 15)),
		},
		"infra/limits.md": {
			"| 1,000 in production if the slowest endpoint of each batch takes 0.5 s |",
			fmt.Sprintf("| %d in production if each batch has an endpoint that hangs |", perSecond("RetryQueue", 15)),
		},
	} {
		for _, sentence := range sentences {
			if !says(texts[page], sentence) {
				t.Errorf("%s does not say %q", page, sentence)
			}
		}
	}
	if perSecond("DeliveryQueue", 0.5) != 1000 {
		t.Errorf("%d deliveries a second at half a second, the pages say 1,000", perSecond("DeliveryQueue", 0.5))
	}
}

// TestRetryDelaysAreTheOnesThatTheCodeTakes holds the parameter's pattern to what deliver can read.
func TestRetryDelaysAreTheOnesThatTheCodeTakes(t *testing.T) {
	var document struct {
		Parameters struct {
			RetryDelays struct {
				AllowedPattern string `yaml:"AllowedPattern"`
			} `yaml:"RetryDelays"`
		} `yaml:"Parameters"`
	}
	parseTemplate(t, &document)
	pattern := regexp.MustCompile(document.Parameters.RetryDelays.AllowedPattern)
	for value, allowed := range map[string]bool{
		"day": true, "fast": true, "1,1,1,1": true, "604800,604800,604800,604800": true,
		"": false, "week": false, "1,1,1": false, "1,1,1,1,1": false, "-1,1,1,1": false, "1.5,1,1,1": false,
	} {
		if got := pattern.MatchString(value); got != allowed {
			t.Errorf("the template takes %q: %v, want %v", value, got, allowed)
		}
		if _, err := delivery.ParseSchedule(value); (err == nil) != allowed {
			t.Errorf("deliver reads %q with %v, want it allowed: %v", value, err, allowed)
		}
	}
}

// TestDocumentURLThatTheTemplateTakesIsTaken keeps a deployment from making functions that cannot start.
func TestDocumentURLThatTheTemplateTakesIsTaken(t *testing.T) {
	var document struct {
		Parameters map[string]struct {
			AllowedPattern string `yaml:"AllowedPattern"`
		} `yaml:"Parameters"`
	}
	parseTemplate(t, &document)
	pattern := regexp.MustCompile(document.Parameters["DocumentUrlTemplate"].AllowedPattern)
	long := strings.Repeat("a", 600)
	for value, want := range map[string]bool{
		"": true,
		"https://documents.example/{document_id}":                           true,
		"https://documents.example:8443/v1/{document_id}/content?a=b&c=%20": true,
		"https://documents.example:59999/{document_id}":                     true,
		"https://documents.example?id={document_id}":                        true,
		"https://documents/%7Ea%2f%2F/{document_id}":                        true,
		"https://documents.example/":                                        false,
		"https://documents.example/{id}":                                    false,
		"https://{document_id}.example/":                                    false,
		"http://documents.example/{document_id}":                            false,
		"https://documents.example/{document_id}/{document_id}":             false,
		"https://documents.example/#{document_id}":                          false,
		"https://me:mine@documents.example/{document_id}":                   false,
		"https://documents.example/{document_id}|":                          false,
		"https://documents.example/%zz/{document_id}":                       false,
		"https://documents.example/{document_id}?a=%":                       false,
		"https://documents..example/{document_id}":                          false,
		"https://documents-.example/{document_id}":                          false,
		"https://documents.example:/{document_id}":                          false,
		"https://documents.example:0/{document_id}":                         false,
		"https://documents.example:70000/{document_id}":                     false,
		"https://192.0.2.256/{document_id}":                                 false,
		"https://documents.1/{document_id}":                                 false,
		"https://" + long + "/{document_id}":                                false,
		"https://documents.example/" + long + "{document_id}":               false,
		"https://documents.example/{document_id}" + long:                    false,
	} {
		if got := pattern.MatchString(value); got != want {
			t.Errorf("%.80q: the template takes it: %t, want %t", value, got, want)
		}
		if _, err := webhook.ParseDocumentURL(value); (err == nil) != want {
			t.Errorf("%.80q: %v", value, err)
		}
	}
	taken := 0
	random := rand.New(rand.NewPCG(1, 2))
	parts := []string{
		".", "-", ":", "/", "?", "%", "%4a", "a", "Z", "9", "@", "#", "{", "~", "[", "\\", "aB3.", long[:40], "1.2.3.4", ":443",
	}
	for range 200_000 {
		value := "https://"
		for _, part := range random.Perm(len(parts))[:random.IntN(7)] {
			value += parts[part]
		}
		value += "/{document_id}"
		for _, part := range random.Perm(len(parts))[:random.IntN(4)] {
			value += parts[part]
		}
		if !pattern.MatchString(value) {
			continue
		}
		taken++
		if _, err := webhook.ParseDocumentURL(value); err != nil {
			t.Errorf("the template takes %q, no function does", value)
		}
	}
	if taken < 1000 {
		t.Errorf("the template took %d of the values made up", taken)
	}
	longest := "https://" + strings.Repeat(long[:40]+".", 5) + long[:40] + ":59999/" + strings.Repeat(long[:16]+"%4a", 5) +
		"{document_id}" + strings.Repeat(long[:20]+"%4a", 6)
	if _, err := webhook.ParseDocumentURL(longest); !pattern.MatchString(longest) || err != nil {
		t.Errorf("%d bytes are the longest, %v", len(longest), err)
	}
}
