package sqs

import (
	"fmt"

	"github.com/docuhook/docuhook/infra/local/internal/awsjson"
)

// fault makes an error of SQS. Under AWS JSON it carries two codes: the shape's name, and the code
// that the older query protocol had, which SDKs report for shapes that they do not know.
func fault(shape, query, format string, args ...any) *awsjson.Error {
	return &awsjson.Error{Code: "com.amazonaws.sqs#" + shape, Query: query, Message: fmt.Sprintf(format, args...)}
}

// legacy is a fault whose query code has the usual prefix.
func legacy(shape, format string, args ...any) *awsjson.Error {
	return fault(shape, "AWS.SimpleQueueService."+shape, format, args...)
}

func invalidParameter(format string, args ...any) *awsjson.Error {
	return fault("InvalidParameterValueException", "InvalidParameterValue", format, args...)
}

// invalidValue says that a parameter's value is out of the question.
func invalidValue(parameter string, value any, reason string) *awsjson.Error {
	return invalidParameter("Value %v for parameter %s is invalid. Reason: %s", value, parameter, reason)
}

func missing(parameter string) *awsjson.Error {
	return fault("MissingRequiredParameterException", "MissingParameter", "The request must contain the parameter %s.", parameter)
}

func noQueue() *awsjson.Error {
	return fault("QueueDoesNotExist", "AWS.SimpleQueueService.NonExistentQueue", "The specified queue does not exist.")
}

func noResource(parameter string) *awsjson.Error {
	return fault("ResourceNotFoundException", "ResourceNotFoundException",
		"The resource that you specified for the %s parameter doesn't exist.", parameter)
}

func unsupported(format string, args ...any) *awsjson.Error {
	return legacy("UnsupportedOperation", format, args...)
}

func invalidHandle(handle string) *awsjson.Error {
	return fault("ReceiptHandleIsInvalid", "ReceiptHandleIsInvalid", "The input receipt handle %q is invalid.", handle)
}

func notInFlight() *awsjson.Error {
	return legacy("MessageNotInflight",
		"The message referred to is not in flight under this receipt handle: "+
			"it has become visible, has been received again, or is deleted.")
}

// between checks an optional number.
func between(parameter string, value *int, low, high int) error {
	if value != nil && (*value < low || *value > high) {
		return invalidValue(parameter, *value, fmt.Sprintf("Must be between %d and %d, if provided.", low, high))
	}
	return nil
}
