package layout

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/goccy/go-yaml"
)

// workflow is what the rules look at in a workflow of GitHub's.
type workflow struct {
	Permissions map[string]string `yaml:"permissions"`
	Jobs        map[string]struct {
		Uses  string `yaml:"uses"`
		Steps []struct {
			Uses string `yaml:"uses"`
			Run  string `yaml:"run"`
		} `yaml:"steps"`
	} `yaml:"jobs"`
}

// TestWorkflows lets no workflow name a secret, take more than it needs by default, or run an action
// that its owner can change afterwards by moving a tag such as v5.
func TestWorkflows(t *testing.T) {
	names, err := filepath.Glob(filepath.Join(root(t), ".github/workflows/*.yaml"))
	if err != nil || len(names) == 0 {
		t.Fatalf("found %d workflows: %v", len(names), err)
	}
	secret := regexp.MustCompile(`\bsecrets\b`)
	pinned := regexp.MustCompile(`^\./\.github/workflows/|@v\d+\.\d+\.\d+$`)
	for _, name := range names {
		t.Run(filepath.Base(name), func(t *testing.T) {
			source, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			if secret.Match(source) {
				t.Error("it names secrets")
			}
			var w workflow
			if err := yaml.Unmarshal(source, &w); err != nil {
				t.Fatal(err)
			}
			if len(w.Permissions) != 1 || w.Permissions["contents"] != "read" {
				t.Errorf("it has the permissions %v, want contents: read", w.Permissions)
			}
			if len(w.Jobs) == 0 {
				t.Error("it has no jobs")
			}
			for id, job := range w.Jobs {
				if (job.Uses == "") == (len(job.Steps) == 0) {
					t.Errorf("%s has %d steps and uses %q", id, len(job.Steps), job.Uses)
				}
				used := []string{job.Uses}
				for i, step := range job.Steps {
					if (step.Uses == "") == (step.Run == "") {
						t.Errorf("step %d of %s uses %q and runs %q", i+1, id, step.Uses, step.Run)
					}
					used = append(used, step.Uses)
				}
				for _, action := range used {
					if action != "" && !pinned.MatchString(action) {
						t.Errorf("%s uses %s, without a whole version", id, action)
					}
				}
			}
		})
	}
}
