package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
)

// machine is the architecture of this machine, as Lambda names it.
func machine() string {
	if runtime.GOARCH == "amd64" {
		return "x86_64"
	}
	return runtime.GOARCH
}

// reachesLoopback reports whether containers reach what listens on this machine's loopback addresses, as those of
// Docker Desktop do, under the name host.docker.internal.
func reachesLoopback() bool { return runtime.GOOS != "linux" }

// inContainer builds the function, or all of them, and runs SAM's container with the environment that it has in the stack.
func (c *command) inContainer(ctx context.Context, t *target, event []byte) error {
	folders := []string{c.function}
	if c.function == startAPI {
		folders = c.functions()
	}
	variables := map[string]map[string]string{} // by logical id
	for _, folder := range folders {
		told, err := t.environment(ctx, folder, c.now())
		if err != nil {
			return err
		}
		if variables[logicalID(folder)], err = t.within(told); err != nil {
			return err
		}
	}
	built, err := c.build(ctx)
	if err != nil {
		return err
	}
	template, environment := filepath.Join(built, "invoke.yaml"), filepath.Join(built, "invoke.json")
	if err := declare(filepath.Join(built, "template.yaml"), template, variables); err != nil {
		return err
	}
	encoded, err := json.Marshal(variables)
	if err != nil {
		return fmt.Errorf("writing the variables: %w", err)
	}
	if err := os.WriteFile(environment, encoded, 0o600); err != nil {
		return fmt.Errorf("writing the variables: %w", err)
	}
	arguments := []string{"local", "invoke", logicalID(c.function), "--event", "-"}
	if c.function == startAPI {
		arguments = []string{"local", "start-api", "--port", "3001"}
	}
	arguments = append(arguments, "--template", template, "--env-vars", environment,
		"--parameter-overrides", "Architecture="+c.architecture)
	if bridge, err := url.Parse(t.bridge); err == nil && bridge.Host != "" {
		// Docker's proxy on loopback takes connections before the container does, and SAM loses the event then.
		arguments = append(arguments, "--container-host", bridge.Hostname(), "--container-host-interface", bridge.Hostname())
	}
	arguments = append(arguments, c.samFlags...)
	if c.function == startAPI {
		fmt.Fprintf(c.err, "The API in SAM's containers, on %s: http://127.0.0.1:3001\n", t)
		return c.runSAM(ctx, t, arguments, nil, c.out, c.err)
	}
	var answer, log strings.Builder
	began := c.now()
	for starts := 1; ; starts++ {
		answer.Reset()
		log.Reset()
		if err := c.runSAM(ctx, t, arguments, event, &answer, io.MultiWriter(c.err, &log)); err != nil {
			return fmt.Errorf("sam local invoke: %w", err)
		}
		if starts == maxStarts || !tooEarly.MatchString(log.String()) {
			break
		}
		fmt.Fprintln(c.err, "The function asked for its event before SAM's emulator listened, and has not seen it: once more.")
	}
	fmt.Fprintf(c.err, "%s in SAM's container (%s) on %s, %s\n", c.function, c.architecture, t, c.now().Sub(began).Round(time.Millisecond))
	said := []byte(strings.TrimSpace(answer.String()))
	fmt.Fprintf(c.out, "%s\n", pretty(said))
	if failed := failure(said); failed != "" {
		return fmt.Errorf("the function failed (%s)", failed)
	}
	return nil
}

// SAM's emulator starts a function and the address at which that asks for its event at the same time. On a busy
// machine the function may ask first; it ends then without having seen the event.
var tooEarly = regexp.MustCompile(`runtime/invocation/next.*connection refused`)

// maxStarts is how often a function is started that asks too early.
const maxStarts = 3

func (c *command) runSAM(ctx context.Context, t *target, arguments []string, event []byte, out, log io.Writer) error {
	sam := exec.CommandContext(ctx, c.sam, arguments...)
	sam.Env = t.samEnvironment(os.Environ())
	sam.Stdin, sam.Stdout, sam.Stderr = bytes.NewReader(event), out, log
	// A container ends with the command, which wants to be asked.
	sam.Cancel = func() error { return sam.Process.Signal(os.Interrupt) }
	return c.start(sam)
}

// failure returns the type of the error that a function has answered with, or "".
func failure(said []byte) string {
	var reported struct {
		Type    string `json:"errorType"`
		Message string `json:"errorMessage"`
	}
	if json.Unmarshal(said, &reported) != nil {
		return "no JSON"
	}
	return cmp.Or(reported.Type, reported.Message)
}

// within returns the variables of a function as they are right in a container: without those that Lambda sets, and
// with the address at which containers reach the local stack.
func (t *target) within(told map[string]string) (map[string]string, error) {
	variables := map[string]string{}
	bridge := t.bridge
	if t.name == "" && bridge == "" {
		if !reachesLoopback() {
			return nil, errors.New("the local stack does not listen where containers reach it: start it with make run FLAGS=-docker")
		}
		bridge = strings.NewReplacer("127.0.0.1", "host.docker.internal", "localhost", "host.docker.internal").Replace(t.endpoint)
	}
	for name, value := range told {
		switch {
		case strings.HasPrefix(name, "AWS_LAMBDA_"), strings.HasPrefix(name, "LAMBDA_"), strings.HasPrefix(name, "_"),
			name == "PATH", name == "LANG", name == "TZ", name == "SSL_CERT_FILE":
		case t.name == "":
			variables[name] = strings.ReplaceAll(value, t.endpoint, bridge)
		default:
			variables[name] = value
		}
	}
	return variables, nil
}

// samEnvironment is what SAM is told of this process's environment: for the local stack nothing of the user's AWS.
func (t *target) samEnvironment(own []string) []string {
	kept := slices.DeleteFunc(slices.Clone(own), func(pair string) bool {
		return t.name == "" && strings.HasPrefix(pair, "AWS_")
	})
	kept = slices.Insert(kept, 0, "SAM_CLI_CONTAINER_CONNECTION_TIMEOUT=120") // seconds, not 20, unless the user says otherwise
	if t.name != "" {
		return append(kept, "AWS_DEFAULT_REGION="+t.aws.Region)
	}
	return append(kept, "AWS_ACCESS_KEY_ID=local", "AWS_SECRET_ACCESS_KEY=local", "AWS_DEFAULT_REGION="+t.aws.Region,
		"AWS_CONFIG_FILE="+os.DevNull, "AWS_SHARED_CREDENTIALS_FILE="+os.DevNull, "AWS_EC2_METADATA_DISABLED=true")
}

// build has make build the function for the container, installing SAM first, and returns the folder.
func (c *command) build(ctx context.Context) (string, error) {
	folder := filepath.Join(c.root, ".build", "invoke", c.architecture)
	flags := "--build-dir " + filepath.Join(".build", "invoke", c.architecture)
	if c.function != startAPI {
		flags += " " + logicalID(c.function)
	}
	build := exec.CommandContext(ctx, "make", "--no-print-directory", "build",
		"SAM="+c.sam, "ARCHITECTURE="+c.architecture, "BUILDFLAGS="+flags)
	build.Dir = c.root
	var said strings.Builder
	build.Stdout, build.Stderr = &said, &said
	fmt.Fprintf(c.err, "Building %s for %s …\n", c.function, c.architecture)
	if err := c.start(build); err != nil {
		return "", errors.Join(fmt.Errorf("building: %w", err), errors.New(said.String()))
	}
	return folder, nil
}

// startTimeout is a function's timeout in SAM's container, in seconds. SAM counts the start of the function, which on a
// busy machine, and for another processor, takes longer than the function may; Lambda does not.
const startTimeout = 300

// declare writes the built template anew, with every variable declared, as SAM sets no others, and time to start.
func declare(built, written string, variables map[string]map[string]string) error {
	source, err := os.ReadFile(built)
	if err != nil {
		return fmt.Errorf("reading the built template: %w", err)
	}
	var template map[string]any
	if err := yaml.Unmarshal(source, &template); err != nil {
		return fmt.Errorf("reading the built template: %w", err)
	}
	resources, _ := template["Resources"].(map[string]any)
	for _, id := range slices.Sorted(maps.Keys(variables)) {
		resource, _ := resources[id].(map[string]any)
		properties, ok := resource["Properties"].(map[string]any)
		if !ok {
			return fmt.Errorf("the built template has no function %s", id)
		}
		declared := map[string]string{}
		for name := range variables[id] {
			declared[name] = ""
		}
		properties["Environment"] = map[string]any{"Variables": declared}
		properties["Timeout"] = startTimeout
	}
	encoded, err := yaml.Marshal(template)
	if err != nil {
		return fmt.Errorf("writing the template: %w", err)
	}
	if err := os.WriteFile(written, encoded, 0o600); err != nil {
		return fmt.Errorf("writing the template: %w", err)
	}
	return nil
}
