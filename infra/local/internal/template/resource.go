package template

import "fmt"

// Resource types that are run.
const (
	functionType = "AWS::Serverless::Function"
	apiType      = "AWS::Serverless::HttpApi"
	tableType    = "AWS::DynamoDB::Table"
	queueType    = "AWS::SQS::Queue"
	secretType   = "AWS::SecretsManager::Secret"
	roleType     = "AWS::IAM::Role"
)

// inertReason says why a resource type is knowingly without effect; "" for a type that is none.
// Their properties are resolved all the same, so that a dangling reference is found.
func inertReason(kind string) string {
	switch kind {
	case "AWS::SQS::QueuePolicy":
		return "the stack has no callers from other accounts and listens on loopback only"
	case "AWS::Logs::LogGroup":
		return "functions log to the terminal"
	case "AWS::CloudWatch::Alarm", "AWS::CloudWatch::Dashboard":
		return "there are no metrics here: they go to the log as they are"
	case "AWS::SNS::Topic", "AWS::SNS::TopicPolicy", "AWS::SNS::Subscription":
		return "only alarms publish to it, and there are no alarms here"
	}
	return ""
}

// arn is an ARN in the one region and account there is.
func arn(service, rest string) string {
	return fmt.Sprintf("arn:%s:%s:%s:%s:%s", Partition, service, Region, Account, rest)
}

// TableARN is the ARN of a table.
func TableARN(table string) string { return arn("dynamodb", "table/"+table) }

// StreamARN is what a table's StreamArn resolves to. AWS puts the stream's creation time where it
// says "local".
func StreamARN(table string) string { return TableARN(table) + "/stream/local" }

// QueueARN is the ARN of a queue.
func QueueARN(queue string) string { return arn("sqs", queue) }

// SecretARN is the ARN of a secret. AWS appends six random characters.
func SecretARN(secret string) string { return arn("secretsmanager", "secret:"+secret) }

// FunctionARN is the ARN of a function.
func FunctionARN(function string) string { return arn("lambda", "function:"+function) }

// RuleARN is the ARN of the rule that SAM makes of a function's schedule.
func RuleARN(function string, s Schedule) string { return arn("events", "rule/"+function+s.Event) }

func roleARN(role string) string {
	return fmt.Sprintf("arn:%s:iam::%s:role/%s", Partition, Account, role)
}

func (s *scope) queueURL(queue string) string {
	return s.options.Endpoint + "/" + Account + "/" + queue
}

// ref resolves a parameter, pseudo parameter or resource.
func (s *scope) ref(name string, line int, where string) *node {
	if value, ok := s.parameters[name]; ok {
		return value
	}
	switch name {
	case "AWS::NoValue":
		return nil
	case "AWS::Region":
		return textNode(line, Region)
	case "AWS::AccountId":
		return textNode(line, Account)
	case "AWS::Partition":
		return textNode(line, Partition)
	case "AWS::URLSuffix":
		return textNode(line, URLSuffix)
	case "AWS::StackName":
		return textNode(line, StackName)
	}
	target := s.existing(name, line, where)
	if target == nil {
		return nil
	}
	switch target.kind {
	case queueType:
		return textNode(line, s.queueURL(name))
	case secretType:
		return textNode(line, SecretARN(name))
	case "AWS::SNS::Topic":
		return textNode(line, arn("sns", name))
	}
	return textNode(line, name)
}

// existing returns the resource of that name, or records that there is none.
func (s *scope) existing(name string, line int, where string) *resource {
	target := s.resources[name]
	switch {
	case target == nil:
		s.problem(line, where, "%s is neither a parameter nor a resource that can be referred to here", name)
		return nil
	case !target.exists && s.unused == 0:
		s.problem(line, where, "%s does not exist: its condition does not hold", name)
		return nil
	}
	return target
}

// getAtt resolves an attribute of a resource.
func (s *scope) getAtt(name, attribute string, line int, where string) *node {
	target := s.existing(name, line, where)
	if target == nil {
		return nil
	}
	switch target.kind + "." + attribute {
	case functionType + ".Arn":
		return textNode(line, FunctionARN(name))
	case tableType + ".Arn":
		return textNode(line, TableARN(name))
	case tableType + ".StreamArn":
		if target.node.get("Properties").get("StreamSpecification") == nil {
			s.problem(line, where, "%s has no StreamSpecification and so no StreamArn", name)
			return nil
		}
		return textNode(line, StreamARN(name))
	case queueType + ".Arn":
		return textNode(line, QueueARN(name))
	case queueType + ".QueueName":
		return textNode(line, name)
	case roleType + ".Arn":
		return textNode(line, roleARN(name))
	case "AWS::Logs::LogGroup.Arn":
		return textNode(line, arn("logs", "log-group:"+name+":*"))
	case "AWS::CloudWatch::Alarm.Arn":
		return textNode(line, arn("cloudwatch", "alarm:"+name))
	}
	s.problem(line, where, "the attribute %s of %s (%s) is not supported by the local stack", attribute, name, target.kind)
	return nil
}

// declareResources notes every resource, so that references in either direction resolve.
func (r *reader) declareResources(section *node) {
	for _, f := range section.fields {
		if _, ok := r.parameters[f.name]; ok {
			r.problem(f.line, f.name, "is a parameter's name as well")
		}
		o := r.object(f.value, f.name, "")
		target := &resource{id: f.name, kind: o.required("Type"), line: f.line, node: f.value, exists: true}
		if condition := o.text("Condition", ""); condition != "" {
			target.exists = r.condition(condition, o.line("Condition"), o.name("Condition"))
		}
		target.properties = o.raw("Properties")
		if target.properties == nil {
			target.properties = &node{line: f.line, kind: mapping}
		}
		o.ignore("resources here are gone when the stack stops", "DeletionPolicy", "UpdateReplacePolicy")
		o.ignore("queues, tables and secrets come before functions anyway", "DependsOn")
		r.readMetadata(o, target.kind)
		o.done()
		r.resources[f.name] = target
		r.order = append(r.order, f.name)
	}
}

// readMetadata checks how functions are built; other metadata is for linters.
func (r *reader) readMetadata(o *object, kind string) {
	if kind != functionType {
		o.ignore("it is for other tools", "Metadata")
		return
	}
	metadata := o.child("Metadata")
	if metadata == nil {
		o.fail("Metadata", "must say BuildMethod: go1.x, the local stack builds nothing else")
		return
	}
	if method := metadata.text("BuildMethod", ""); method != "go1.x" {
		metadata.fail("BuildMethod", "must be go1.x, the local stack builds nothing else, got %q", method)
	}
	metadata.ignore("it is for other tools", "cfn-lint", "cfn_nag", "checkov", "guard", "SamResourceId")
	metadata.done()
}

// readResources reads every resource that exists: roles first, because functions take their
// statements from them.
func (r *reader) readResources() {
	r.roles = map[string]role{}
	r.each(roleType, r.readRole)
	for _, id := range r.order {
		target := r.resources[id]
		if !target.exists {
			r.check(target.properties, id+": Properties")
			r.result.Ignored = append(r.result.Ignored, Ignored{Where: id, Line: target.line, Reason: "its condition does not hold"})
			continue
		}
		read := map[string]func(string, *object){
			functionType: r.readFunction,
			apiType:      r.readAPI,
			tableType:    r.readTable,
			queueType:    r.readQueue,
			secretType:   r.readSecret,
			roleType:     func(string, *object) {}, // read above
		}[target.kind]
		switch reason := inertReason(target.kind); {
		case reason != "":
			r.eval(target.properties, id+": Properties")
			r.result.Ignored = append(r.result.Ignored, Ignored{Where: id, Line: target.line, Reason: reason})
		case read == nil:
			r.problem(target.line, id, "the resource type %s is not supported by the local stack", target.kind)
		default:
			r.resolve(target, read)
		}
	}
}

// each reads the existing resources of one type.
func (r *reader) each(kind string, read func(id string, properties *object)) {
	for _, id := range r.order {
		if target := r.resources[id]; target.exists && target.kind == kind {
			r.resolve(target, read)
		}
	}
}

// resolve evaluates a resource's properties and hands them to read, unless that failed: reading
// what is half resolved would only report the same thing again in other words.
func (r *reader) resolve(target *resource, read func(id string, properties *object)) {
	if target.kind == roleType && r.roles[target.id].name != "" {
		return
	}
	before := len(r.problems)
	properties := r.eval(target.properties, target.id+": Properties")
	if len(r.problems) > before {
		return
	}
	o := r.object(properties, target.id, "Properties")
	read(target.id, o)
	o.done()
}

// named takes the logical id out of the ARN or URL of a resource of the given type. An ARN from
// elsewhere is recorded as a problem.
func (o *object) named(member, kind string, spell func(id string) string) string {
	text := o.required(member)
	if text == "" {
		return ""
	}
	for _, id := range o.reader.order {
		if target := o.reader.resources[id]; target.exists && target.kind == kind && spell(id) == text {
			return id
		}
	}
	o.fail(member, "%s is not one of this template's resources of type %s; the local stack has nothing else", text, kind)
	return ""
}

// checkReferences looks at what only shows when everything has been read.
func (r *reader) checkReferences() {
	queues := map[string]Queue{}
	for _, queue := range r.result.Queues {
		queues[queue.Name] = queue
	}
	streams := map[string]bool{}
	for _, table := range r.result.Tables {
		streams[table.Name] = table.Stream
	}
	routes := map[string]string{}
	for _, function := range r.result.Functions {
		line := r.resources[function.Name].line
		for _, source := range function.QueueFeeds {
			if visibility := queues[source.Queue].Visibility; visibility < function.Timeout {
				r.problem(line, fmt.Sprintf("%s: Properties.Events.%s", function.Name, source.Event),
					"the visibility timeout of %s (%s) is below the function's timeout (%s), "+
						"which AWS refuses", source.Queue, visibility, function.Timeout)
			}
		}
		for _, source := range function.Streams {
			if !streams[source.Table] {
				r.problem(
					line, fmt.Sprintf("%s: Properties.Events.%s.Properties.Stream", function.Name, source.Event), "%s has no stream",
					source.Table,
				)
			}
		}
		for _, route := range function.Routes {
			where := fmt.Sprintf("%s: Properties.Events.%s", function.Name, route.Event)
			key := route.Method + " " + route.Path
			if other, ok := routes[key]; ok {
				r.problem(line, where, "the route %s belongs to %s already", key, other)
			}
			routes[key] = function.Name
			if r.result.API == nil {
				r.problem(line, where, "the template has no HTTP API")
				continue
			}
			if _, ok := r.result.API.Authorizers[route.Authorizer]; route.Authorizer != "" && !ok {
				r.problem(line, where+".Properties.Auth.Authorizer", "there is no authorizer %s", route.Authorizer)
			}
		}
	}
}
