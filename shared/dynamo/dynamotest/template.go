package dynamotest

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/goccy/go-yaml"
)

// keySchema names the key of a table or an index.
type keySchema []struct {
	AttributeName string `yaml:"AttributeName"`
	KeyType       string `yaml:"KeyType"`
}

func (s keySchema) sdk() []types.KeySchemaElement {
	var elements []types.KeySchemaElement
	for _, one := range s {
		elements = append(elements, types.KeySchemaElement{AttributeName: aws.String(one.AttributeName), KeyType: types.KeyType(one.KeyType)})
	}
	return elements
}

// names returns the attributes of the key, the hash first.
func (s keySchema) names() []string {
	var names []string
	for _, one := range s {
		names = append(names, one.AttributeName)
	}
	return names
}

type indexDefinition struct {
	IndexName  string    `yaml:"IndexName"`
	KeySchema  keySchema `yaml:"KeySchema"`
	Projection struct {
		ProjectionType string `yaml:"ProjectionType"`
	} `yaml:"Projection"`
	global bool
}

type tableDefinition struct {
	AttributeDefinitions []struct {
		AttributeName string `yaml:"AttributeName"`
		AttributeType string `yaml:"AttributeType"`
	} `yaml:"AttributeDefinitions"`
	KeySchema              keySchema         `yaml:"KeySchema"`
	GlobalSecondaryIndexes []indexDefinition `yaml:"GlobalSecondaryIndexes"`
	LocalSecondaryIndexes  []indexDefinition `yaml:"LocalSecondaryIndexes"`
}

// index returns an index by its name, nil if there is none.
func (d *tableDefinition) index(name string) *indexDefinition {
	for i := range d.GlobalSecondaryIndexes {
		if one := &d.GlobalSecondaryIndexes[i]; one.IndexName == name {
			one.global = true
			return one
		}
	}
	for i := range d.LocalSecondaryIndexes {
		if one := &d.LocalSecondaryIndexes[i]; one.IndexName == name {
			return one
		}
	}
	return nil
}

func (d *tableDefinition) create(name string) *dynamodb.CreateTableInput {
	input := &dynamodb.CreateTableInput{TableName: &name, BillingMode: types.BillingModePayPerRequest, KeySchema: d.KeySchema.sdk()}
	for _, one := range d.AttributeDefinitions {
		input.AttributeDefinitions = append(input.AttributeDefinitions, types.AttributeDefinition{
			AttributeName: aws.String(one.AttributeName), AttributeType: types.ScalarAttributeType(one.AttributeType),
		})
	}
	return input
}

// Root returns the folder of the module, where template.yaml is.
func Root(t testing.TB) string {
	t.Helper()
	folder, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(folder, "go.mod")); err == nil {
			return folder
		}
		parent := filepath.Dir(folder)
		if parent == folder {
			t.Fatal("no go.mod above the test")
		}
		folder = parent
	}
}

// tables reads the definitions of all tables from the template.
func tables(t testing.TB) map[string]*tableDefinition {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(Root(t), "template.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var template struct {
		Resources map[string]struct {
			Type       string          `yaml:"Type"`
			Properties tableDefinition `yaml:"Properties"`
		} `yaml:"Resources"`
	}
	if err := yaml.Unmarshal(data, &template); err != nil {
		t.Fatalf("reading the template: %v", err)
	}
	found := map[string]*tableDefinition{}
	for name, resource := range template.Resources {
		if resource.Type == "AWS::DynamoDB::Table" {
			definition := resource.Properties
			found[name] = &definition
		}
	}
	return found
}
