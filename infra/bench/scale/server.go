package main

import (
	"bufio"
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// mavenPlugin copies an artifact with all that it depends on.
const mavenPlugin = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"

//go:embed pom.xml
var pom []byte

//go:embed Local.java
var program []byte

// install fetches DynamoDB Local from Maven Central into a folder below directory, once for each
// version, and returns the folder.
func install(ctx context.Context, directory, version string) (string, error) {
	folder, err := filepath.Abs(filepath.Join(directory, version))
	if err != nil {
		return "", err
	}
	complete := filepath.Join(folder, "complete")
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return "", err
	}
	for name, content := range map[string][]byte{"pom.xml": pom, "Local.java": program} {
		if err := os.WriteFile(filepath.Join(folder, name), content, 0o644); err != nil {
			return "", err
		}
	}
	if _, err := os.Stat(complete); err == nil {
		return folder, nil
	}
	if _, err := exec.LookPath("mvn"); err != nil {
		return "", errors.New("fetching DynamoDB Local needs Maven (mvn)")
	}
	command := exec.CommandContext(ctx, "mvn", "-B", "-q", "-f", filepath.Join(folder, "pom.xml"), "-Ddynamodb-local.version="+version,
		mavenPlugin, "-DoutputDirectory="+filepath.Join(folder, "lib"))
	if out, err := command.CombinedOutput(); err != nil {
		return "", fmt.Errorf("fetching DynamoDB Local %s: %w\n%s", version, err, out)
	}
	return folder, os.WriteFile(complete, nil, 0o644)
}

// server is a running DynamoDB Local.
type server struct {
	url     string
	command *exec.Cmd
	stdin   io.Closer
}

// start runs DynamoDB Local from a folder that install has filled.
func start(ctx context.Context, folder string) (*server, error) {
	if _, err := exec.LookPath("java"); err != nil {
		return nil, errors.New("DynamoDB Local needs Java (a JDK of version 17 or newer)")
	}
	lib := filepath.Join(folder, "lib")
	command := exec.CommandContext(ctx, "java", "-Xmx3g", "-cp", filepath.Join(lib, "*"), "-Dsqlite4java.library.path="+lib, filepath.Join(folder, "Local.java"))
	var complaints bytes.Buffer
	command.Stderr = &complaints
	stdin, err := command.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := command.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := command.Start(); err != nil {
		return nil, fmt.Errorf("starting DynamoDB Local: %w", err)
	}
	scanner := bufio.NewScanner(stdout)
	for scanner.Scan() {
		if port, ok := strings.CutPrefix(scanner.Text(), "port "); ok {
			go io.Copy(io.Discard, stdout) // it must never wait for a reader
			return &server{"http://127.0.0.1:" + port, command, stdin}, nil
		}
	}
	err = command.Wait()
	return nil, fmt.Errorf("DynamoDB Local has ended (%v):\n%s", err, &complaints)
}

// stop ends the server.
func (s *server) stop() error {
	s.stdin.Close()
	return s.command.Wait()
}
