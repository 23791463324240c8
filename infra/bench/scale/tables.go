package main

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/goccy/go-yaml"
)

type keyElement struct {
	AttributeName string `yaml:"AttributeName"`
	KeyType       string `yaml:"KeyType"`
}

type index struct {
	IndexName  string       `yaml:"IndexName"`
	KeySchema  []keyElement `yaml:"KeySchema"`
	Projection struct {
		ProjectionType string `yaml:"ProjectionType"`
	} `yaml:"Projection"`
}

type table struct {
	AttributeDefinitions []struct {
		AttributeName string `yaml:"AttributeName"`
		AttributeType string `yaml:"AttributeType"`
	} `yaml:"AttributeDefinitions"`
	KeySchema              []keyElement `yaml:"KeySchema"`
	GlobalSecondaryIndexes []index      `yaml:"GlobalSecondaryIndexes"`
	LocalSecondaryIndexes  []index      `yaml:"LocalSecondaryIndexes"`
}

// parseTables reads the tables of the template, by their logical ids.
func parseTables(template []byte) (map[string]table, error) {
	var document struct {
		Resources map[string]struct {
			Type       string `yaml:"Type"`
			Properties table  `yaml:"Properties"`
		} `yaml:"Resources"`
	}
	if err := yaml.Unmarshal(template, &document); err != nil {
		return nil, fmt.Errorf("reading the template: %w", err)
	}
	tables := map[string]table{}
	for name, resource := range document.Resources {
		if resource.Type == "AWS::DynamoDB::Table" {
			tables[name] = resource.Properties
		}
	}
	return tables, nil
}

// input returns the request that creates the table under a name.
func (t table) input(name string) *dynamodb.CreateTableInput {
	input := &dynamodb.CreateTableInput{TableName: &name, BillingMode: types.BillingModePayPerRequest, KeySchema: schema(t.KeySchema)}
	for _, a := range t.AttributeDefinitions {
		input.AttributeDefinitions = append(input.AttributeDefinitions, types.AttributeDefinition{
			AttributeName: &a.AttributeName, AttributeType: types.ScalarAttributeType(a.AttributeType),
		})
	}
	for _, i := range t.GlobalSecondaryIndexes {
		input.GlobalSecondaryIndexes = append(input.GlobalSecondaryIndexes, types.GlobalSecondaryIndex{
			IndexName: &i.IndexName, KeySchema: schema(i.KeySchema), Projection: &types.Projection{ProjectionType: types.ProjectionType(i.Projection.ProjectionType)},
		})
	}
	for _, i := range t.LocalSecondaryIndexes {
		input.LocalSecondaryIndexes = append(input.LocalSecondaryIndexes, types.LocalSecondaryIndex{
			IndexName: &i.IndexName, KeySchema: schema(i.KeySchema), Projection: &types.Projection{ProjectionType: types.ProjectionType(i.Projection.ProjectionType)},
		})
	}
	return input
}

func schema(elements []keyElement) []types.KeySchemaElement {
	var found []types.KeySchemaElement
	for _, e := range elements {
		found = append(found, types.KeySchemaElement{AttributeName: &e.AttributeName, KeyType: types.KeyType(e.KeyType)})
	}
	return found
}

func createTables(ctx context.Context, client *dynamodb.Client, tables map[string]table) error {
	for _, name := range slices.Sorted(maps.Keys(tables)) {
		if _, err := client.CreateTable(ctx, tables[name].input(name)); err != nil {
			return fmt.Errorf("creating %s: %w", name, err)
		}
	}
	return nil
}
