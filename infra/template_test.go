package infra_test

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
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
		if resource.DeletionPolicy != "Retain" || resource.UpdateReplacePolicy != "Retain" {
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
	runbook := strings.Join(strings.Fields(pages(t)["infra/runbook.md"]), " ")
	for _, number := range []struct {
		resource, setting string
		says              []string
	}{
		{"DispatchFunction", `MaximumRecordAgeInSeconds: 21600`, []string{"could not be dispatched for 6 hours", "At 6 hours records begin to go"}},
		{"DispatchFunction", `BatchSize: 100\n +ParallelizationFactor: 10`, []string{"up to ten batches of 100 records of each shard", "+ 10 for each shard"}},
		{"DispatchFunction", `Timeout: 60`, []string{"run into its timeout of 60 s"}},
		{"DeliverFunction", `BatchSize: 10\n`, []string{"× 10 (messages of a batch)"}},
		{"DeliveryQueue", `VisibilityTimeout: 360`, []string{"come back after 6 minutes"}},
		{"DeliveryQueue", `MessageRetentionPeriod: 345600`, []string{"a message in DeliveryQueue for 4 days"}},
		{"DeliveryDeadLetterQueue", `MessageRetentionPeriod: 1209600`, []string{"DispatchFailureQueue for 14 days", "expire 14 days after"}},
		{"DeliveryQueue", `maxReceiveCount: 5`, []string{"has failed five times and was given up", "five attempts with the usual delays"}},
		{"RetryDelays", `Default: "10,60,300,900"`, []string{"about 21 minutes of retries (10 s, 1, 5 and 15 minutes)", "the 1,270 s that they wait in all: 94 a second"}},
		{"EndpointFailureThreshold", `Default: 20`, []string{"(`EndpointFailureThreshold`, 20 in a row"}},
		{"DeliverConcurrency", `Default: 100`, []string{"With 100 instances: 2,000 a second at half a second, 66 a second"}},
		{"AuthorizerCacheSeconds", `Default: 60`, []string{"`AuthorizerCacheSeconds` at most (60 s)"}},
		{"DispatchAgeAlarm", `EvaluationPeriods: 5\n.*\n +Threshold: 300000`, []string{"reads the stream more than 5 minutes late"}},
		{"DeliveryAgeAlarm", `Threshold: 2700`, []string{"a message has waited for 45 minutes"}},
		{"DeliveryBacklogAlarm", `Period: 300\n +EvaluationPeriods: 3\n.*\n +Threshold: 1000\n`, []string{"for 15 minutes there were always more than 1,000 messages due"}},
		{"DeliveryInFlightAlarm", `Threshold: 96000`, []string{"more than 96,000 messages"}},
		{"FailedAttemptsAlarm", `attempts >= 50`, []string{"with at least 50 attempts in each 5 minutes"}},
		{"FailedAttemptsAlarm", `EvaluationPeriods: 3\n.*\n +Threshold: 50\n`, []string{"for 15 minutes more than half of all attempts have failed"}},
		{"PutBackAlarm", `Period: 900\n +EvaluationPeriods: 3`, []string{"for 45 minutes deliveries could not even be attempted"}},
		{"ApiErrorsAlarm", `Threshold: 5\n`, []string{"at least five requests within 5 minutes"}},
	} {
		block := regexp.MustCompile(`(?s)\n  ` + number.resource + `:\n.*?\n(?:\n|  [A-Z])`).FindString(string(source))
		if !regexp.MustCompile(number.setting).MatchString(block) {
			t.Errorf("%s does not set %s any more", number.resource, number.setting)
		}
		for _, text := range number.says {
			if !strings.Contains(runbook, text) {
				t.Errorf("%s sets %s, but the runbook does not say %q", number.resource, number.setting, text)
			}
		}
	}
}
