package dynamodb

import (
	"slices"
	"strings"
	"time"

	"github.com/docuhook/docuhook/infra/local/internal/awsjson"
	"github.com/docuhook/docuhook/infra/local/internal/dynamodb/attribute"
)

type tableInput struct{ TableName string }

type describeTableOutput struct{ Table tableDescription }

type tableDescription struct {
	TableName              string
	TableArn               string
	TableStatus            string
	CreationDateTime       float64
	ItemCount              int
	TableSizeBytes         int
	AttributeDefinitions   []attributeDefinition
	KeySchema              []keyElement
	BillingModeSummary     map[string]string
	ProvisionedThroughput  throughput
	GlobalSecondaryIndexes []indexDescription   `json:",omitempty"`
	LocalSecondaryIndexes  []indexDescription   `json:",omitempty"`
	StreamSpecification    *streamSpecification `json:",omitempty"`
	LatestStreamArn        string               `json:",omitempty"`
	LatestStreamLabel      string               `json:",omitempty"`
}

type indexDescription struct {
	IndexName             string
	IndexArn              string
	IndexStatus           string
	ItemCount             int
	IndexSizeBytes        int
	KeySchema             []keyElement
	Projection            projectionDescription
	ProvisionedThroughput throughput
}

type (
	attributeDefinition struct {
		AttributeName string
		AttributeType attribute.Type
	}
	keyElement            struct{ AttributeName, KeyType string }
	projectionDescription struct {
		ProjectionType   string
		NonKeyAttributes []string `json:",omitempty"`
	}
	streamSpecification struct {
		StreamEnabled  bool
		StreamViewType string
	}
	// throughput is always 0: the tables are paid per request.
	throughput struct{ ReadCapacityUnits, WriteCapacityUnits, NumberOfDecreasesToday int }
)

func (k keySchema) describe() []keyElement {
	elements := []keyElement{{k.hash.Name, "HASH"}}
	if k.rang.Name != "" {
		elements = append(elements, keyElement{k.rang.Name, "RANGE"})
	}
	return elements
}

func (db *Database) describeTable(in *tableInput, allow awsjson.Allow) (*describeTableOutput, error) {
	t, err := db.table(in.TableName, "DescribeTable", allow)
	if err != nil {
		return nil, err
	}
	s := t.schema
	t.mu.RLock()
	defer t.mu.RUnlock()
	d := tableDescription{
		TableName: s.Name, TableArn: s.ARN, TableStatus: "ACTIVE", CreationDateTime: epoch(t.created),
		ItemCount: t.rows.Len(), TableSizeBytes: t.size, KeySchema: t.key.describe(),
		BillingModeSummary: map[string]string{"BillingMode": "PAY_PER_REQUEST"},
	}
	define := func(k keySchema) {
		for _, key := range k.keys() {
			if definition := (attributeDefinition{key.Name, key.Type}); !slices.Contains(d.AttributeDefinitions, definition) {
				d.AttributeDefinitions = append(d.AttributeDefinitions, definition)
			}
		}
	}
	define(t.key)
	for _, x := range t.indexes {
		define(x.keySchema)
		description := indexDescription{
			IndexName: x.Name, IndexArn: s.ARN + "/index/" + x.Name, IndexStatus: "ACTIVE", ItemCount: x.rows.Len(),
			KeySchema: x.describe(), Projection: projectionDescription{x.Projection, x.NonKeyAttributes},
		}
		x.rows.Scan(func(_ string, e *entry) bool {
			description.IndexSizeBytes += e.size
			return true
		})
		if x.Local {
			d.LocalSecondaryIndexes = append(d.LocalSecondaryIndexes, description)
		} else {
			d.GlobalSecondaryIndexes = append(d.GlobalSecondaryIndexes, description)
		}
	}
	if t.stream != nil {
		d.StreamSpecification = &streamSpecification{true, streamView}
		d.LatestStreamArn, d.LatestStreamLabel = s.StreamARN, streamLabel(s.StreamARN)
	}
	return &describeTableOutput{d}, nil
}

// epoch is a time as the protocol has it: seconds, with a fraction.
func epoch(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }

// streamLabel is what follows /stream/ in a stream's ARN.
func streamLabel(arn string) string {
	_, label, _ := strings.Cut(arn, "/stream/")
	return label
}

type listTablesInput struct {
	ExclusiveStartTableName string // refused, as is the next
	Limit                   *int
}

type listTablesOutput struct{ TableNames []string }

func (db *Database) listTables(in *listTablesInput, allow awsjson.Allow) (*listTablesOutput, error) {
	if err := allow("dynamodb:ListTables", "*"); err != nil {
		return nil, err
	}
	if in.ExclusiveStartTableName != "" || in.Limit != nil {
		return nil, validation("ExclusiveStartTableName and Limit are not supported by the local stack: without them it lists all tables")
	}
	db.mu.RLock()
	defer db.mu.RUnlock()
	return &listTablesOutput{sortedKeys(db.tables)}, nil
}
