// Package identity enforces the template's IAM policies: who may call what on which resource.
//
// Every function has an access key of its own, derived from its name, and may do what the
// statements of its policies allow: a Deny that matches wins, an Allow that matches permits, and
// nothing else is permitted. Access keys that belong to no function are administrators, so that the
// AWS CLI works with any credentials. What was needed and what was denied is remembered, so that a
// test can show that policies are neither too narrow nor too wide.
package identity

import (
	"cmp"
	"crypto/sha256"
	"encoding/base32"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/docuhook/docuhook/infra/local/internal/awsjson"
	"github.com/docuhook/docuhook/infra/local/internal/template"
)

// Principal is a function with what its policies say. Actions and resources may hold the wildcards * and ?.
type Principal struct {
	Function   string
	Statements []template.Statement
}

// Grant is an action that a statement allows on a resource, as the statement spells them.
type Grant struct {
	Function string `json:"function"`
	Sid      string `json:"sid"`
	Action   string `json:"action"`
	Resource string `json:"resource"`
}

// Denial is a call that was, or with Enforce off would have been, refused.
type Denial struct {
	Function string `json:"function"`
	Action   string `json:"action"`
	Resource string `json:"resource"`
	Sid      string `json:"sid,omitzero"` // of the statement that denies; "": none allows
}

// Options configure the policies.
type Options struct {
	Principals []Principal
	Enforce    bool         // false: denials are recorded and then allowed
	OnDenied   func(Denial) // called for every denial; nil: not
}

// Policies answers for every access key. It may be used by many goroutines at once.
type Policies struct {
	enforce    bool
	onDenied   func(Denial)
	principals map[string]Principal // by access key; never changes

	mu     sync.Mutex
	needed map[Grant]bool
	denied map[Denial]bool
}

// New makes the policies of the principals. Two principals of one function are an error.
func New(options Options) (*Policies, error) {
	p := &Policies{
		enforce:    options.Enforce,
		onDenied:   options.OnDenied,
		principals: map[string]Principal{},
		needed:     map[Grant]bool{},
		denied:     map[Denial]bool{},
	}
	for _, principal := range options.Principals {
		key := AccessKey(principal.Function)
		if _, ok := p.principals[key]; ok {
			return nil, fmt.Errorf("the function %s has two sets of policies", principal.Function)
		}
		p.principals[key] = principal
	}
	return p, nil
}

// AccessKey returns the access key id of a function: the same in every run.
func AccessKey(function string) string {
	sum := sha256.Sum256([]byte(function))
	return "AKIA" + base32.StdEncoding.EncodeToString(sum[:10]) // 20 characters, as AWS's are
}

// Allow implements awsjson.Policies.
func (p *Policies) Allow(accessKey, action, arn string) error {
	principal, ok := p.principals[accessKey]
	if !ok {
		return nil
	}
	var grants []Grant
	for _, s := range principal.Statements {
		for _, resource := range s.Resources {
			if !like(resource, arn) {
				continue
			}
			for _, pattern := range s.Actions {
				if !like(strings.ToLower(pattern), strings.ToLower(action)) {
					continue
				}
				if s.Effect == "Deny" {
					return p.deny(Denial{Function: principal.Function, Action: action, Resource: arn, Sid: s.Sid})
				}
				grants = append(grants, Grant{Function: principal.Function, Sid: s.Sid, Action: pattern, Resource: resource})
			}
		}
	}
	switch len(grants) {
	case 0:
		return p.deny(Denial{Function: principal.Function, Action: action, Resource: arn})
	case 1: // without it the call would have been denied
		p.mu.Lock()
		defer p.mu.Unlock()
		p.needed[grants[0]] = true
	}
	return nil
}

func (p *Policies) deny(denial Denial) error {
	p.mu.Lock()
	p.denied[denial] = true
	p.mu.Unlock()
	if p.onDenied != nil {
		p.onDenied(denial)
	}
	if !p.enforce {
		return nil
	}
	user := fmt.Sprintf("arn:aws:sts::000000000000:assumed-role/%s/%s", denial.Function, denial.Function)
	err := awsjson.AccessDenied(user, denial.Action, denial.Resource)
	if denial.Sid != "" {
		err.Message = strings.Replace(
			err.Message, "because no identity-based policy allows the action", "with an explicit deny in an identity-based policy", 1,
		)
	}
	return err
}

// like matches IAM's wildcards: * is any text, ? any one character.
func like(pattern, text string) bool {
	star, resume := -1, 0
	p, t := 0, 0
	for t < len(text) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, resume = p, t
			p++
		case p < len(pattern) && (pattern[p] == '?' || pattern[p] == text[t]):
			p++
			t++
		case star >= 0: // let the last star take one character more
			resume++
			p, t = star+1, resume
		default:
			return false
		}
	}
	return strings.Trim(pattern[p:], "*") == ""
}

// Needed returns the grants without which a call would have been denied, sorted. Where two allow the
// same call, that call needs neither.
func (p *Policies) Needed() []Grant {
	p.mu.Lock()
	defer p.mu.Unlock()
	return sortedGrants(p.needed)
}

// Granted returns every grant of every function, sorted: what Needed is to be compared with.
func (p *Policies) Granted() []Grant {
	all := map[Grant]bool{}
	for _, principal := range p.principals {
		for _, s := range principal.Statements {
			for _, action := range s.Actions {
				for _, resource := range s.Resources {
					if s.Effect == "Allow" {
						all[Grant{Function: principal.Function, Sid: s.Sid, Action: action, Resource: resource}] = true
					}
				}
			}
		}
	}
	return sortedGrants(all)
}

// Denied returns the calls that were refused, each once, sorted.
func (p *Policies) Denied() []Denial {
	p.mu.Lock()
	defer p.mu.Unlock()
	result := make([]Denial, 0, len(p.denied))
	for denial := range p.denied {
		result = append(result, denial)
	}
	slices.SortFunc(result, func(a, b Denial) int {
		return cmp.Or(
			cmp.Compare(a.Function, b.Function), cmp.Compare(a.Action, b.Action), cmp.Compare(a.Resource, b.Resource),
			cmp.Compare(a.Sid, b.Sid),
		)
	})
	return result
}

func sortedGrants(set map[Grant]bool) []Grant {
	result := make([]Grant, 0, len(set))
	for grant := range set {
		result = append(result, grant)
	}
	slices.SortFunc(result, func(a, b Grant) int {
		return cmp.Or(
			cmp.Compare(a.Function, b.Function), cmp.Compare(a.Sid, b.Sid), cmp.Compare(a.Action, b.Action),
			cmp.Compare(a.Resource, b.Resource),
		)
	})
	return result
}
