package contract

import (
	"bytes"
	"flag"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"testing"

	"github.com/docuhook/docuhook/infra/local/localtest"
)

var schemathesis = flag.String("schemathesis", "", "check the local stack with this st `command`")

// leastCases is how many requests must have been made for the check to tell something.
const leastCases = 3000

// TestSchemathesis lets schemathesis make up requests to the local stack, and look at its answers,
// with nothing but the contract to go by.
func TestSchemathesis(t *testing.T) {
	if *schemathesis == "" {
		t.Skip("make contract runs this: it needs schemathesis")
	}
	document, err := File("infra/openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	directory := t.TempDir() // schemathesis leaves things behind
	if err := os.CopyFS(directory, os.DirFS("schemathesis")); err != nil {
		t.Fatal(err)
	}
	// It makes more configs and requests than one customer would.
	api := localtest.Start(t, "-demo=false", "-organization", "org_one=dk_test_one", "-organization", "org_two=dk_test_two",
		"-parameter", "ConfigLimit=100000", "-parameter", "ApiRateLimit=100000", "-parameter", "ApiBurstLimit=100000",
		"-parameter", "ResendsPerMinute=100000", "-parameter", "TestsPerMinute=100000")
	var printed bytes.Buffer
	command := exec.Command(*schemathesis, "run", document, "--url", api)
	command.Dir, command.Stdout, command.Stderr = directory, io.MultiWriter(os.Stdout, &printed), os.Stderr
	if err := command.Run(); err != nil {
		t.Fatalf("schemathesis ended with %v", err)
	}
	counts := regexp.MustCompile(`(\d+) generated, (\d+) passed`).FindSubmatch(printed.Bytes())
	if counts == nil {
		t.Fatal("schemathesis does not say how many cases it made")
	}
	if cases, err := strconv.Atoi(string(counts[1])); err != nil || cases < leastCases || !bytes.Equal(counts[1], counts[2]) {
		t.Errorf("%s cases, %s passed; want %d or more, and all to pass", counts[1], counts[2], leastCases)
	}
	t.Logf("schemathesis: %s cases, %s passed", counts[1], counts[2])
}
