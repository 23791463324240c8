package conformance

// difference is what an implementation answers instead of what AWS does.
type difference struct {
	implementation string
	behaviour      string
	got            string
	why            string
}

// differences are all that are known. The suite fails when one of them is no longer true. The local
// stack has none. Those of moto are why this system is not tested with it: what AWS refuses would pass.
func differences() []difference {
	const crash = "HTTP 500 without a code"
	return []difference{
		{implementation: moto, behaviour: "a counter counts from nothing", got: "customer=counter hits=1 number=1 hits=42 ok ok",
			why: "UPDATED_NEW of an item that is new returns its key as well"},
		{implementation: moto, behaviour: "if_not_exists sets what is missing", got: "a=10 customer=missing number=1 ok",
			why: "UPDATED_NEW of an item that is new returns its key as well"},
		{implementation: moto, behaviour: "numbers come back in one spelling", got: "a=1.50 b=1e2 c=-0 customer=numbers number=1",
			why: "numbers are kept as they were written, so that equal ones differ"},
		{implementation: moto, behaviour: "a number of 39 digits is refused", got: "ok", why: "the precision of numbers is not checked"},
		{
			implementation: moto,
			behaviour:      "a key of the wrong type is refused",
			got:            "ok",
			why:            "the types of a read's key are not checked",
		},
		{
			implementation: moto,
			behaviour:      "a batch write with the same key twice is refused",
			got:            "ok",
			why:            "whole items are compared, not their keys",
		},
		{
			implementation: moto,
			behaviour:      "a batch write of 26 items is refused",
			got:            "ok",
			why:            "the number of items in a batch write is not checked here",
		},
		{
			implementation: moto,
			behaviour:      "a filter may not name the key",
			got:            "number=1 number=2; scanned 3; more: false",
			why:            "filters on key attributes are carried out",
		},
		{
			implementation: moto,
			behaviour:      "a stream tells what changed, with both images, and nothing else",
			got:            "INSERT ->a, MODIFY a->a, MODIFY a->b, REMOVE b->",
			why:            "a put that changes nothing makes a record",
		},
		{
			implementation: moto,
			behaviour:      "a message received too often goes to the dead-letter queue, as itself, and comes back as another",
			got:            "same id: true, origin: false, " + crash,
			why:            "a dead letter does not tell its origin, and message move tasks are not implemented",
		},
		{
			implementation: moto,
			behaviour:      "visibility cannot be changed of a message that is gone",
			got:            "ReceiptHandleIsInvalid",
			why:            "the handle of a deleted message is forgotten",
		},
		{
			implementation: moto,
			behaviour:      "only a dead-letter queue can be redriven",
			got:            crash,
			why:            "message move tasks are not implemented",
		},
		{
			implementation: dynalite,
			behaviour:      "a put under a false condition fails and shows the item if asked",
			got:            "ConditionalCheckFailedException: The conditional request failed; ",
			why:            "it came before ReturnValuesOnConditionCheckFailure",
		},
		{implementation: dynalite, behaviour: "an empty index key is refused", got: "ok", why: "the keys of indexes are not checked"},
		{implementation: dynalite, behaviour: "a query of nothing takes half a unit", got: "0", why: "capacity is that of what was found"},
		{
			implementation: dynalite,
			behaviour:      "an index entry that comes or goes takes a unit, one that moves two, one that stays none",
			got:            "1 1 1 1",
			why:            "the writes of indexes are not counted",
		},
		{
			implementation: dynoxide,
			behaviour:      "a stream tells what changed, with both images, and nothing else",
			got:            "INSERT ->a, MODIFY a->a, MODIFY a->b, REMOVE b->",
			why:            "a put that changes nothing makes a record",
		},
	}
}
