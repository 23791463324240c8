package lambda

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"testing"
	"time"

	awslambda "github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-lambda-go/lambdacontext"
)

// TestMain makes the test binary a Lambda function when a Service starts it, and a Service when a test asks for one.
func TestMain(m *testing.M) {
	switch {
	case os.Getenv("AWS_LAMBDA_RUNTIME_API") != "":
		beFunction()
	case os.Getenv("BE_SERVICE") != "":
		beService()
	default:
		os.Exit(m.Run())
	}
}

// request is what a test asks of the function.
type request struct {
	Do   string `json:"do"`
	URL  string `json:"url,omitempty"`
	Size int    `json:"size,omitempty"`
}

func beFunction() {
	switch os.Getenv("INIT") {
	case "exit":
		os.Exit(3)
	case "hang":
		fmt.Println("initializing")
		hang()
	case "report":
		url := "http://" + os.Getenv("AWS_LAMBDA_RUNTIME_API") + "/2018-06-01/runtime/init/error"
		answer, err := http.Post(
			url, "application/json", bytes.NewBufferString(`{"errorMessage":"no settings","errorType":"Function.NoSettings"}`),
		)
		if err != nil || answer.StatusCode != http.StatusAccepted {
			panic(fmt.Sprint("reporting: ", answer, err))
		}
		os.Exit(1)
	case "second time":
		if os.Mkdir(os.Getenv("MARK"), 0o700) == nil {
			os.Exit(4)
		}
	case "linger":
		linger()
	}
	awslambda.Start(handle)
}

func handle(ctx context.Context, r request) (any, error) {
	switch r.Do {
	case "echo":
		return r, nil
	case "fail":
		return nil, errors.New("no luck")
	case "panic":
		panic("lost my head")
	case "exit":
		os.Exit(r.Size)
	case "large":
		return string(bytes.Repeat([]byte("x"), r.Size-2)), nil
	case "bytes":
		return bytes.NewBufferString("not JSON"), nil
	case "print":
		fmt.Println("to stdout")
		fmt.Fprintln(os.Stderr, "to stderr")
		return nil, nil
	case "print part": // of a line
		fmt.Print(string(bytes.Repeat([]byte("x"), r.Size)))
		return nil, nil
	case "get": // tells the test that it has begun, and ends when the test answers
		answer, err := http.Get(r.URL)
		if err != nil {
			return nil, err
		}
		_, err = io.Copy(io.Discard, answer.Body)
		return map[string]int{"pid": os.Getpid()}, err
	case "hang":
		fmt.Println("hanging")
		hang()
	case "spawn":
		child := exec.Command(os.Args[0])
		child.Env = append(os.Environ(), "INIT=linger", "LINGER="+r.URL)
		if err := child.Start(); err != nil {
			return nil, err
		}
		hang()
	case "pid":
		return map[string]int{"pid": os.Getpid()}, nil
	case "context":
		lc, _ := lambdacontext.FromContext(ctx)
		deadline, _ := ctx.Deadline()
		dir, err := os.Getwd()
		return map[string]any{
			"arn": lc.InvokedFunctionArn, "id": lc.AwsRequestID != "", "deadline": deadline.UnixMilli(),
			"dir": dir, "memory": os.Getenv("AWS_LAMBDA_FUNCTION_MEMORY_SIZE"), "home": os.Getenv("HOME"),
			"trace": len(os.Getenv("_X_AMZN_TRACE_ID")),
		}, err
	}
	return nil, fmt.Errorf("unknown request %q", r.Do)
}

// beService runs a function that never becomes ready, until this process is killed.
func beService() {
	s, err := New(Options{Log: io.Discard})
	if err != nil {
		panic(err)
	}
	env := []string{"INIT=linger", "LINGER=" + os.Getenv("LINGER")}
	if err := s.Register(Function{Name: "Test", Path: os.Args[0], Env: env, Timeout: time.Hour}); err != nil {
		panic(err)
	}
	_, err = s.Invoke(context.Background(), "Test", nil)
	panic(err)
}

// hang waits for what never comes.
func hang() {
	never := make(chan os.Signal, 1)
	signal.Notify(never, os.Interrupt)
	<-never
}

// linger keeps a connection to the test open until the process ends.
func linger() {
	if _, err := net.Dial("tcp", os.Getenv("LINGER")); err != nil {
		panic(err)
	}
	hang()
}

// payloadOf encodes a request.
func payloadOf(r request) []byte {
	b, err := json.Marshal(r)
	if err != nil {
		panic(err)
	}
	return b
}
