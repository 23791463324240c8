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
		{moto, "a counter counts from nothing", "customer=counter hits=1 number=1 hits=42 ok ok",
			"UPDATED_NEW of an item that is new returns its key as well"},
		{moto, "if_not_exists and arithmetic", "a=9 customer=arithmetic number=1 ok",
			"UPDATED_NEW of an item that is new returns its key as well"},
		{moto, "numbers come back in one spelling", "a=1.50 b=1e2 c=-0 customer=numbers number=1",
			"numbers are kept as they were written, so that equal ones differ"},
		{moto, "a number of 39 digits is refused", "ok", "the precision of numbers is not checked"},
		{moto, "a key of the wrong type is refused", "ok", "the types of a read's key are not checked"},
		{moto, "a batch write with the same key twice is refused", "ok", "whole items are compared, not their keys"},
		{moto, "a batch write of 26 items is refused", "ok", "the number of items in a batch write is not checked here"},
		{moto, "a filter may not name the key", "number=1 number=2; scanned 3; more: false", "filters on key attributes are carried out"},
		{moto, "a stream tells what changed, with both images, and nothing else", "INSERT ->a, MODIFY a->a, MODIFY a->b, REMOVE b->",
			"a put that changes nothing makes a record"},
		{moto, "a message received too often goes to the dead-letter queue, as itself, and comes back as another",
			"same id: true, origin: false, " + crash, "a dead letter does not tell its origin, and message move tasks are not implemented"},
		{moto, "visibility cannot be changed of a message that is gone", "ReceiptHandleIsInvalid", "the handle of a deleted message is forgotten"},
		{moto, "only a dead-letter queue can be redriven", crash, "message move tasks are not implemented"},
		{dynalite, "a put under a false condition fails and shows the item if asked",
			"ConditionalCheckFailedException: The conditional request failed; ", "it came before ReturnValuesOnConditionCheckFailure"},
		{dynalite, "an empty index key is refused", "ok", "the keys of indexes are not checked"},
		{dynalite, "a query of nothing takes half a unit", "0", "capacity is that of what was found"},
		{dynalite, "an index entry takes a unit when it comes, two when it moves, one when it goes, none when it stays", "1 1 1 1",
			"the writes of indexes are not counted"},
		{dynoxide, "a stream tells what changed, with both images, and nothing else", "INSERT ->a, MODIFY a->a, MODIFY a->b, REMOVE b->",
			"a put that changes nothing makes a record"},
	}
}
