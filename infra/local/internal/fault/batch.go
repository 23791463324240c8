package fault

import (
	"bytes"
	"encoding/json"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"

	"github.com/docuhook/docuhook/infra/local/internal/awsjson"
)

// object is a JSON object whose members stay as they are.
type object map[string]json.RawMessage

// batch takes those entries out of a request that lose names, and returns how many stay and what puts the others into
// the answer, as failed. In a request that is malformed it finds none.
type batch func(request object, lose func(n int) []bool) (left int, amend func(answer object))

var batches = map[string]batch{
	"SendMessageBatch":             loseEntries,
	"DeleteMessageBatch":           loseEntries,
	"ChangeMessageVisibilityBatch": loseEntries,
	"BatchExecuteStatement":        loseStatements,
	"BatchWriteItem": func(request object, lose func(n int) []bool) (int, func(object)) {
		return loseItems(request, lose, "", "UnprocessedItems")
	},
	"BatchGetItem": func(request object, lose func(n int) []bool) (int, func(object)) {
		return loseItems(request, lose, "Keys", "UnprocessedKeys")
	},
}

// part lets some entries of a batch fail, at least one, and the services serve the others.
func (i *calls) part(w http.ResponseWriter, r *http.Request, operation string, body []byte, random *rand.Rand) {
	request := object{}
	if json.Unmarshal(body, &request) != nil || request == nil {
		i.next.ServeHTTP(w, r) // the service says what is wrong
		return
	}
	lost := false
	left, amend := batches[operation](request, func(n int) []bool {
		which := make([]bool, n)
		for k := range which {
			which[k] = random.IntN(2) == 0
			lost = lost || which[k]
		}
		if !lost && n > 0 {
			which[random.IntN(n)], lost = true, true
		}
		return which
	})
	if !lost {
		i.next.ServeHTTP(w, r)
		return
	}
	served, response := newAnswer(), object{}
	if left > 0 {
		body = encode(request)
		r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
		i.next.ServeHTTP(served, r)
		if err := json.Unmarshal(served.body.Bytes(), &response); err != nil {
			awsjson.WriteError(w, err)
			return
		}
	}
	if served.status == http.StatusOK {
		amend(response)
	}
	maps.Copy(w.Header(), served.header)
	awsjson.Write(w, served.status, encode(response))
}

// encode encodes what always can be.
func encode(v any) json.RawMessage {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err) // texts, flags, and JSON that has been read
	}
	return text
}

// list reads a list; what is none is an empty one.
func list(text json.RawMessage) []json.RawMessage {
	var entries []json.RawMessage
	if json.Unmarshal(text, &entries) != nil || entries == nil {
		return []json.RawMessage{}
	}
	return entries
}

// cut divides entries.
func cut(entries []json.RawMessage, away []bool) (kept, lost []json.RawMessage) {
	kept, lost = []json.RawMessage{}, []json.RawMessage{}
	for n, entry := range entries {
		if away[n] {
			lost = append(lost, entry)
		} else {
			kept = append(kept, entry)
		}
	}
	return kept, lost
}

// loseEntries is for the batches of SQS.
func loseEntries(request object, lose func(n int) []bool) (int, func(object)) {
	entries := list(request["Entries"])
	kept, lost := cut(entries, lose(len(entries)))
	request["Entries"] = encode(kept)
	return len(kept), func(answer object) {
		failed := list(answer["Failed"])
		for _, text := range lost {
			var entry object
			_ = json.Unmarshal(text, &entry) // one without an id is answered without one
			failed = append(failed, encode(map[string]any{
				"Id": entry["Id"], "SenderFault": false, "Code": "InternalError", "Message": message,
			}))
		}
		answer["Successful"], answer["Failed"] = encode(list(answer["Successful"])), encode(failed)
	}
}

// loseStatements is for DynamoDB's statements, which are answered in their order.
func loseStatements(request object, lose func(n int) []bool) (int, func(object)) {
	statements := list(request["Statements"])
	which := lose(len(statements))
	kept, _ := cut(statements, which)
	request["Statements"] = encode(kept)
	return len(kept), func(answer object) {
		responses := list(answer["Responses"])
		for n, away := range which {
			if away {
				failed := map[string]any{"Error": map[string]string{"Code": "ThrottlingError", "Message": message}}
				responses = slices.Insert(responses, n, encode(failed))
			}
		}
		answer["Responses"] = encode(responses)
	}
}

// loseItems is for DynamoDB's batches of items, which are lists under their tables: in a member, or bare.
func loseItems(request object, lose func(n int) []bool, member, unprocessed string) (int, func(object)) {
	var tables object
	_ = json.Unmarshal(request["RequestItems"], &tables) // malformed: no tables
	left, away := 0, object{}
	for _, name := range slices.Sorted(maps.Keys(tables)) {
		table := object{"": tables[name]}
		if member != "" {
			_ = json.Unmarshal(tables[name], &table) // malformed: no items
		}
		items := list(table[member])
		kept, lost := cut(items, lose(len(items)))
		put := func(into object, items []json.RawMessage) {
			switch table[member] = encode(items); {
			case len(items) == 0:
				delete(into, name)
			case member == "":
				into[name] = table[member]
			default:
				delete(table, "")
				into[name] = encode(table)
			}
		}
		put(tables, kept)
		put(away, lost)
		left += len(kept)
	}
	request["RequestItems"] = encode(tables)
	// Batches of functions are far below the size of which a service leaves a part undone by itself.
	return left, func(answer object) { answer[unprocessed] = encode(away) }
}
