package fault

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"

	"github.com/docuhook/docuhook/infra/local/internal/awsjson"
)

// object is a JSON object whose members stay as they are.
type object map[string]json.RawMessage

// batch takes entries out of a request, those that lose says, and returns what puts them into its answer as failed.
// left is how many entries stay.
type batch func(request object, lose func(n int) []bool) (amend func(answer object) error, left int, err error)

var batches = map[string]batch{
	"SendMessageBatch":             loseEntries,
	"DeleteMessageBatch":           loseEntries,
	"ChangeMessageVisibilityBatch": loseEntries,
	"BatchExecuteStatement":        loseStatements,
	"BatchWriteItem": func(request object, lose func(n int) []bool) (func(object) error, int, error) {
		return loseItems(request, lose, "", "UnprocessedItems")
	},
	"BatchGetItem": func(request object, lose func(n int) []bool) (func(object) error, int, error) {
		return loseItems(request, lose, "Keys", "UnprocessedKeys")
	},
}

// part lets some entries of a batch fail, at least one, and the services serve the others.
func (i *Injector) part(w http.ResponseWriter, r *http.Request, c call, random *rand.Rand) {
	var request object
	lost := false
	lose := func(n int) []bool {
		which := make([]bool, n)
		for k := range which {
			which[k] = random.IntN(2) == 0
			lost = lost || which[k]
		}
		if !lost && n > 0 {
			which[random.IntN(n)], lost = true, true
		}
		return which
	}
	err := json.Unmarshal(c.body, &request)
	var amend func(object) error
	var left int
	if err == nil {
		amend, left, err = batches[c.operation](request, lose)
	}
	if err != nil { // the service will say what is wrong with it
		i.next.ServeHTTP(w, r)
		return
	}
	served, response := newAnswer(), object{}
	if left > 0 {
		body := encode(request)
		r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
		i.next.ServeHTTP(served, r)
		err = json.Unmarshal(served.body.Bytes(), &response)
	}
	if err == nil && served.status == http.StatusOK {
		err = amend(response)
	}
	if err != nil {
		awsjson.WriteError(w, err)
		return
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

// cut divides entries.
func cut(entries []json.RawMessage, lose func(n int) []bool) (kept, lost []json.RawMessage) {
	kept, lost = []json.RawMessage{}, []json.RawMessage{}
	for n, away := range lose(len(entries)) {
		if away {
			lost = append(lost, entries[n])
		} else {
			kept = append(kept, entries[n])
		}
	}
	return kept, lost
}

// loseEntries is for the batches of SQS.
func loseEntries(request object, lose func(n int) []bool) (func(object) error, int, error) {
	var entries []json.RawMessage
	if err := json.Unmarshal(request["Entries"], &entries); err != nil {
		return nil, 0, err
	}
	kept, lost := cut(entries, lose)
	request["Entries"] = encode(kept)
	return func(answer object) error {
		failed := []json.RawMessage{}
		if answer["Failed"] != nil {
			if err := json.Unmarshal(answer["Failed"], &failed); err != nil {
				return err
			}
		}
		for _, entry := range lost {
			var named struct{ Id string }
			if err := json.Unmarshal(entry, &named); err != nil {
				return err
			}
			failed = append(failed, encode(map[string]any{"Id": named.Id, "SenderFault": false, "Code": "InternalError", "Message": "a fault of the plan"}))
		}
		if answer["Successful"] == nil {
			answer["Successful"] = json.RawMessage("[]")
		}
		answer["Failed"] = encode(failed)
		return nil
	}, len(kept), nil
}

// loseStatements is for DynamoDB's statements, which are answered in their order.
func loseStatements(request object, lose func(n int) []bool) (func(object) error, int, error) {
	var statements []json.RawMessage
	if err := json.Unmarshal(request["Statements"], &statements); err != nil {
		return nil, 0, err
	}
	which := lose(len(statements))
	kept, _ := cut(statements, func(int) []bool { return which })
	request["Statements"] = encode(kept)
	return func(answer object) error {
		responses := []json.RawMessage{}
		if answer["Responses"] != nil {
			if err := json.Unmarshal(answer["Responses"], &responses); err != nil {
				return err
			}
		}
		for n, away := range which {
			if away && n <= len(responses) {
				failed := map[string]any{"Error": map[string]string{"Code": "ThrottlingError", "Message": "a fault of the plan"}}
				responses = slices.Insert(responses, n, encode(failed))
			}
		}
		answer["Responses"] = encode(responses)
		return nil
	}, len(kept), nil
}

// loseItems is for DynamoDB's batches of items, which lists under their tables: in a member, or bare.
func loseItems(request object, lose func(n int) []bool, member, unprocessed string) (func(object) error, int, error) {
	var tables object
	if err := json.Unmarshal(request["RequestItems"], &tables); err != nil {
		return nil, 0, err
	}
	left, away := 0, object{}
	for _, name := range slices.Sorted(maps.Keys(tables)) {
		table := object{member: tables[name]}
		if member != "" {
			if err := json.Unmarshal(tables[name], &table); err != nil {
				return nil, 0, err
			}
		}
		var items []json.RawMessage
		if err := json.Unmarshal(table[member], &items); err != nil {
			return nil, 0, err
		}
		kept, lost := cut(items, lose)
		put := func(into object, items []json.RawMessage) {
			if delete(into, name); len(items) == 0 {
				return
			}
			if table[member] = encode(items); member != "" {
				into[name] = encode(table)
			} else {
				into[name] = table[member]
			}
		}
		put(tables, kept)
		put(away, lost)
		left += len(kept)
	}
	request["RequestItems"] = encode(tables)
	return func(answer object) error {
		var before object
		if err := json.Unmarshal(answer[unprocessed], &before); left > 0 && (err != nil || len(before) > 0) {
			return errors.New("a fault of the plan, on top of what the service itself has left of a batch of reads")
		}
		answer[unprocessed] = encode(away)
		return nil
	}, left, nil
}
