package template

import (
	"fmt"
	"strings"
)

// role is an explicit role with the statements of its policies.
type role struct {
	name       string
	statements []Statement
}

// functionPolicies returns the statements that apply to a function: those of its explicit role, or
// those of its Policies property.
func (r *reader) functionPolicies(id string, o *object) (string, []Statement) {
	if o.has("Role") {
		if o.has("Policies") {
			o.fail("Policies", "is ignored by SAM beside Role; give it to the role")
			o.raw("Policies")
		}
		name := o.named("Role", roleType, roleARN)
		return name, r.roles[name].statements
	}
	n := o.raw("Policies")
	if n == nil {
		return "", nil
	}
	entries := []*node{n}
	if n.kind == sequence {
		entries = n.items
	}
	var statements []Statement
	for i, entry := range entries {
		path := fmt.Sprintf("Properties.Policies[%d]", i)
		if entry.kind == scalar {
			r.managedPolicy(entry, id, path)
			continue
		}
		document := r.object(entry, id, path)
		if !document.has("Statement") {
			document.fail("", "must be a policy document with a Statement; SAM policy templates are not supported by the local stack")
			continue
		}
		statements = append(statements, r.document(document)...)
	}
	return "", statements
}

// managedPolicy accepts the managed policies that allow nothing that exists here.
func (r *reader) managedPolicy(n *node, where, path string) {
	switch name := tail(n.text, "/"); name {
	case "AWSLambdaBasicExecutionRole", "AWSLambdaVPCAccessExecutionRole", "AWSXRayDaemonWriteAccess", "AWSXrayWriteOnlyAccess":
		r.result.Ignored = append(r.result.Ignored, Ignored{Where: where + ": " + path, Line: n.line, Reason: "it is about logs, traces and network interfaces, which are this machine's or nowhere"})
	default:
		r.problem(n.line, where+": "+path, "the managed policy %s is not supported by the local stack", n.text)
	}
}

func (r *reader) readRole(id string, o *object) {
	result := role{name: id}
	o.ignore("functions here have their role by declaration", "AssumeRolePolicyDocument")
	o.ignore("it is text for people", "Description", "Tags")
	o.ignore("functions have no sessions here", "MaxSessionDuration")
	if n := o.raw("ManagedPolicyArns"); n != nil {
		for i, item := range n.items {
			r.managedPolicy(item, id, fmt.Sprintf("Properties.ManagedPolicyArns[%d]", i))
		}
	}
	for _, policy := range o.list("Policies") {
		policy.required("PolicyName")
		if document := policy.child("PolicyDocument"); document != nil {
			result.statements = append(result.statements, r.document(document)...)
		} else {
			policy.fail("PolicyDocument", "is required")
		}
		policy.done()
	}
	r.roles[id] = result
}

// document reads a policy document.
func (r *reader) document(o *object) []Statement {
	o.oneOf("Version", "2012-10-17", "2012-10-17")
	o.ignore("it is text for people", "Id")
	var statements []Statement
	for _, s := range o.list("Statement") {
		statement := Statement{
			Sid:       s.text("Sid", ""),
			Effect:    s.required("Effect"),
			Actions:   s.texts("Action"),
			Resources: s.texts("Resource"),
		}
		if statement.Effect != "Allow" && statement.Effect != "Deny" {
			s.fail("Effect", "must be Allow or Deny, got %q", statement.Effect)
		}
		if len(statement.Actions) == 0 {
			s.fail("Action", "must name at least one action")
		}
		for _, action := range statement.Actions {
			if action != "*" && !strings.Contains(action, ":") {
				s.fail("Action", "%q must be a service, a colon and an operation", action)
			}
		}
		if len(statement.Resources) == 0 {
			s.fail("Resource", "must name at least one resource")
		}
		s.done() // NotAction, NotResource and Condition end here, as not supported
		statements = append(statements, statement)
	}
	o.done()
	return statements
}
