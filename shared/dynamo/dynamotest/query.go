package dynamotest

import (
	"cmp"
	"crypto/sha256"
	"encoding/json"
	"net/http"
	"regexp"
	"slices"
	"strings"
)

// between is the form of key condition that this product uses: the whole of one partition's range.
var between = regexp.MustCompile(`^(#?\w+) = (:\w+) AND (#?\w+) BETWEEN (:\w+) AND (:\w+)$`)

type queryInput struct {
	TableName                 string
	IndexName                 string
	ConsistentRead            bool
	KeyConditionExpression    string
	FilterExpression          string
	ProjectionExpression      string
	ExpressionAttributeNames  map[string]string
	ExpressionAttributeValues map[string]wire
	ScanIndexForward          *bool
	Limit                     int
	ExclusiveStartKey         map[string]wire
}

type queryOutput struct {
	Items            []map[string]wire
	Count            int
	ScannedCount     int
	LastEvaluatedKey map[string]wire `json:",omitempty"`
}

// query answers a Query as DynamoDB documents it: in the order of the sort key, at most Limit items
// and then the key to go on after, even if nothing follows. Items of one sort key, which an index
// may have, come in an order that means nothing but does not change.
func (db *DB) query(body []byte) *Fault {
	invalid := func(message string) *Fault { return Refusal("ValidationException", message) }
	var in queryInput
	if err := json.Unmarshal(body, &in); err != nil {
		return Refusal("SerializationException", err.Error())
	}
	table := db.tables[in.TableName]
	if table == nil {
		return Refusal("ResourceNotFoundException", "Requested resource not found")
	}
	schema, keysOnly := table.KeySchema, false
	if in.IndexName != "" {
		index := table.index(in.IndexName)
		switch {
		case index == nil:
			return invalid("The table does not have the specified index: " + in.IndexName)
		case index.global && in.ConsistentRead:
			return invalid("Consistent reads are not supported on global secondary indexes")
		}
		schema, keysOnly = index.KeySchema, index.Projection.ProjectionType == "KEYS_ONLY"
	}
	condition := between.FindStringSubmatch(in.KeyConditionExpression)
	if condition == nil || in.FilterExpression != "" || len(schema) != 2 {
		return invalid("dynamotest knows no such query: " + in.KeyConditionExpression)
	}
	name := func(alias string) string { return cmp.Or(in.ExpressionAttributeNames[alias], alias) }
	value := func(placeholder string) string {
		text, _ := in.ExpressionAttributeValues[placeholder]["S"].(string)
		return text
	}
	hash, sort := schema[0].AttributeName, schema[1].AttributeName
	if name(condition[1]) != hash || name(condition[3]) != sort {
		return invalid("Query condition missed key schema element")
	}
	low, high := value(condition[4]), value(condition[5])
	if low > high {
		return invalid("Invalid KeyConditionExpression: The BETWEEN operator requires upper bound to be greater than or equal to lower bound")
	}
	all, err := db.scan(in.TableName)
	if err != nil {
		return &Fault{http.StatusInternalServerError, err.Error()}
	}
	place := func(item map[string]wire) string {
		text, _ := item[sort]["S"].(string)
		sum := sha256.Sum256([]byte(identity(item, table.KeySchema.names())))
		return text + "\x00" + string(sum[:])
	}
	backward := in.ScanIndexForward != nil && !*in.ScanIndexForward
	compare := func(a, b map[string]wire) int {
		if backward {
			a, b = b, a
		}
		return strings.Compare(place(a), place(b))
	}
	keyNames := append(table.KeySchema.names(), schema.names()...)
	if in.ExclusiveStartKey != nil {
		for _, one := range keyNames {
			if in.ExclusiveStartKey[one] == nil {
				return invalid("The provided starting key is invalid")
			}
		}
	}
	found := []map[string]wire{}
	for _, item := range all {
		text, ok := item[sort]["S"].(string)
		if item[hash]["S"] == value(condition[2]) && ok && low <= text && text <= high &&
			(in.ExclusiveStartKey == nil || compare(in.ExclusiveStartKey, item) < 0) {
			found = append(found, item)
		}
	}
	slices.SortFunc(found, compare)
	out := queryOutput{Items: found}
	if in.Limit > 0 && len(found) >= in.Limit {
		out.Items = found[:in.Limit]
		out.LastEvaluatedKey = project(out.Items[in.Limit-1], keyNames)
	}
	for i := range out.Items {
		switch {
		case in.ProjectionExpression != "":
			var names []string
			for alias := range strings.SplitSeq(in.ProjectionExpression, ",") {
				names = append(names, name(strings.TrimSpace(alias)))
			}
			out.Items[i] = project(out.Items[i], names)
		case keysOnly:
			out.Items[i] = project(out.Items[i], keyNames)
		}
	}
	out.Count, out.ScannedCount = len(out.Items), len(out.Items)
	answer, err := json.Marshal(out)
	if err != nil {
		return &Fault{http.StatusInternalServerError, err.Error()}
	}
	return &Fault{http.StatusOK, string(answer)}
}

func project(item map[string]wire, names []string) map[string]wire {
	out := map[string]wire{}
	for _, name := range names {
		if value, ok := item[name]; ok {
			out[name] = value
		}
	}
	return out
}
