package template

import (
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// day is the longest that most AWS limits in seconds allow.
const day = 86400

func (r *reader) readFunction(id string, o *object) {
	f := Function{Name: id, Environment: map[string]string{}}
	o.ignore("it is text for people", "Description", "Tags")
	f.Traced = o.oneOf("Tracing", "PassThrough", "Active") == "Active"
	o.ignore("there is no X-Ray here", "Tracing")
	f.LogGroup, f.LogFormat = "/aws/lambda/"+id, "Text"
	if logging := o.child("LoggingConfig"); logging != nil {
		f.LogGroup = logging.text("LogGroup", f.LogGroup)
		logging.ignore("functions log to the terminal", "LogGroup")
		logging.ignore("there are no START, END and REPORT lines here", "SystemLogLevel")
		if f.LogFormat = logging.oneOf("LogFormat", "Text", "JSON"); f.LogFormat == "JSON" {
			f.LogLevel = logging.oneOf("ApplicationLogLevel", "INFO", "TRACE", "DEBUG", "WARN", "ERROR", "FATAL")
		}
		logging.done()
	}
	o.ignore("functions are built for this machine", "Architectures")
	o.ignore("functions share this machine's temporary directory", "EphemeralStorage")
	o.ignore("functions share this machine's network", "VpcConfig")
	o.must("Runtime", "provided.al2023")
	o.must("Handler", "bootstrap")
	o.oneOf("PackageType", "Zip", "Zip")
	f.Folder = strings.TrimSuffix(strings.TrimPrefix(o.required("CodeUri"), "./"), "/")
	if path.IsAbs(f.Folder) || strings.Contains(f.Folder, "..") || strings.Contains(f.Folder, ":") {
		o.fail("CodeUri", "must be a folder below the template, got %q", f.Folder)
	}
	f.MemoryMB = o.integer("MemorySize", 128, 128, 10240)
	f.Timeout = o.seconds("Timeout", 3, 1, 900)
	if o.has("ReservedConcurrentExecutions") {
		reserved := o.integer("ReservedConcurrentExecutions", 0, 0, 100000)
		f.Reserved = &reserved
	}
	if environment := o.child("Environment"); environment != nil {
		if variables := environment.child("Variables"); variables != nil && variables.node != nil {
			for _, v := range variables.node.fields {
				f.Environment[v.name] = variables.text(v.name, "")
			}
			variables.done()
		}
		environment.done()
	}
	f.RecursiveLoop = o.oneOf("RecursiveLoop", "Terminate", "Allow") == "Allow"
	f.AsyncRetries, f.AsyncMaxAge = 2, 6*time.Hour
	if async := o.child("EventInvokeConfig"); async != nil {
		f.AsyncRetries = async.integer("MaximumRetryAttempts", f.AsyncRetries, 0, 2)
		f.AsyncMaxAge = async.seconds("MaximumEventAgeInSeconds", 6*3600, 60, 6*3600)
		async.done()
	}
	f.Role, f.Statements = r.functionPolicies(id, o)
	names, events := o.members("Events")
	for i, event := range events {
		r.readEvent(&f, names[i], event)
	}
	if f.Role == "" {
		f.Statements = append(f.Statements, samStatements(f)...)
	}
	r.result.Functions = append(r.result.Functions, f)
}

func (r *reader) readEvent(f *Function, name string, event *object) {
	kind := event.required("Type")
	properties := event.child("Properties")
	event.done()
	if properties == nil {
		event.fail("Properties", "is required")
		return
	}
	switch kind {
	case "HttpApi":
		f.Routes = append(f.Routes, r.readRoute(name, properties))
	case "DynamoDB":
		f.Streams = append(f.Streams, r.readStream(name, properties))
	case "SQS":
		f.QueueFeeds = append(f.QueueFeeds, r.readFeed(name, properties))
	case "Schedule":
		f.Schedules = append(f.Schedules, readSchedule(name, properties))
	default:
		event.fail("Type", "the event type %q is not supported by the local stack", kind)
		return
	}
	properties.done()
}

func (r *reader) readRoute(name string, o *object) Route {
	route := Route{Event: name, Method: strings.ToUpper(o.required("Method")), Path: o.required("Path")}
	o.named("ApiId", apiType, func(id string) string { return id })
	o.oneOf("PayloadFormatVersion", "2.0", "2.0")
	if !slices.Contains([]string{"", "ANY", "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}, route.Method) {
		o.fail("Method", "%q is not a method", route.Method)
	}
	if !strings.HasPrefix(route.Path, "/") || strings.Contains(route.Path, "+}") {
		o.fail("Path", "%q is not supported by the local stack: neither greedy parameters nor $default", route.Path)
	}
	if api := r.resources[o.text("ApiId", "")]; api != nil {
		route.Authorizer = r.defaultAuthorizer(api)
	}
	if auth := o.child("Auth"); auth != nil {
		if route.Authorizer = auth.text("Authorizer", route.Authorizer); route.Authorizer == "NONE" {
			route.Authorizer = ""
		}
		auth.done()
	}
	return route
}

// throttle reads route settings; nil where neither limit is given.
func (o *object) throttle(member string) *Throttle {
	settings := o.child(member)
	if settings == nil {
		return nil
	}
	settings.ignore("there are no metrics here", "DetailedMetricsEnabled")
	limited := settings.has("ThrottlingRateLimit") || settings.has("ThrottlingBurstLimit")
	throttle := &Throttle{
		RatePerSecond: settings.number("ThrottlingRateLimit", 10000), // the account's default
		Burst:         settings.integer("ThrottlingBurstLimit", 5000, 0, 1<<30),
	}
	settings.done()
	if throttle.RatePerSecond < 0 {
		settings.fail("ThrottlingRateLimit", "must not be negative")
	}
	if !limited {
		return nil
	}
	return throttle
}

// eventSource reads what stream and queue event sources share.
func (r *reader) eventSource(name string, o *object, highestBatch, defaultBatch int) EventSource {
	source := EventSource{
		Event:     name,
		BatchSize: o.integer("BatchSize", defaultBatch, 1, highestBatch),
	}
	o.ignore("there are no metrics here", "MetricsConfig")
	for _, kind := range o.texts("FunctionResponseTypes") {
		if kind != "ReportBatchItemFailures" {
			o.fail("FunctionResponseTypes", "%q is not supported by the local stack", kind)
		}
		source.ReportsBatchItems = true
	}
	return source
}

func (r *reader) readStream(name string, o *object) StreamSource {
	source := StreamSource{
		EventSource:     r.eventSource(name, o, 10000, 100),
		Table:           o.named("Stream", tableType, StreamARN),
		Parallelization: o.integer("ParallelizationFactor", 1, 1, 10),
		Bisect:          o.boolean("BisectBatchOnFunctionError", false),
		MaxRetries:      o.integer("MaximumRetryAttempts", -1, -1, 10000),
		MaxAge:          -1,
	}
	o.must("StartingPosition", "TRIM_HORIZON")
	if criteria := o.child("FilterCriteria"); criteria != nil {
		for _, filter := range criteria.list("Filters") {
			pattern := filter.required("Pattern")
			source.Filters = append(source.Filters, pattern)
			filter.done()
		}
		criteria.done()
	}
	if age := o.integer("MaximumRecordAgeInSeconds", -1, -1, 7*day); age >= 0 {
		if age < 60 {
			o.fail("MaximumRecordAgeInSeconds", "must be -1 or between 60 and 604800, got %d", age)
		}
		source.MaxAge = time.Duration(age) * time.Second
	}
	if destinations := o.child("DestinationConfig"); destinations != nil {
		if failure := destinations.child("OnFailure"); failure != nil {
			failure.oneOf("Type", "SQS", "SQS")
			source.FailureQueue = failure.named("Destination", queueType, QueueARN)
			failure.done()
		}
		destinations.done()
	}
	return source
}

func (r *reader) readFeed(name string, o *object) QueueSource {
	source := QueueSource{
		EventSource: r.eventSource(name, o, 10, 10),
		Queue:       o.named("Queue", queueType, QueueARN),
	}
	if scaling := o.child("ScalingConfig"); scaling != nil {
		source.MaxConcurrency = scaling.integer("MaximumConcurrency", 0, 2, 1000)
		scaling.done()
	}
	return source
}

var rateExpression = regexp.MustCompile(`^rate\((1 (minute|hour|day)|[2-9] (minute|hour|day)s|[1-9][0-9]{1,5} (minute|hour|day)s)\)$`)

func readSchedule(name string, o *object) Schedule {
	o.ignore("it is text for people", "Description", "Name")
	o.ignore("the function's queue of events always takes what is due", "RetryPolicy", "DeadLetterConfig")
	schedule := Schedule{Event: name, Enabled: o.boolean("Enabled", true) && o.oneOf("State", "ENABLED", "DISABLED") == "ENABLED"}
	rate := o.required("Schedule")
	if !rateExpression.MatchString(rate) {
		if rate != "" {
			o.fail("Schedule", "%q is not supported by the local stack, only rate(1 minute), rate(5 minutes) and the like", rate)
		}
		return schedule
	}
	number, unit, _ := strings.Cut(strings.TrimSuffix(strings.TrimPrefix(rate, "rate("), ")"), " ")
	n, _ := strconv.Atoi(number) // rateExpression takes six digits at most, so this cannot fail
	units := map[string]time.Duration{"minute": time.Minute, "hour": time.Hour, "day": day * time.Second}
	schedule.Every = time.Duration(n) * units[strings.TrimSuffix(unit, "s")]
	return schedule
}

func (r *reader) readAPI(id string, o *object) {
	if r.result.API != nil {
		r.problem(r.resources[id].line, id, "a second HTTP API is not supported by the local stack")
		return
	}
	api := &API{Name: id, Authorizers: map[string]Authorizer{}}
	o.ignore("it is text for people", "Description", "Tags", "Name")
	o.ignore("the terminal shows every request", "AccessLogSettings")
	o.ignore("nothing is imported here that could warn", "FailOnWarnings")
	api.Stage = o.oneOf("StageName", "$default", "$default")
	api.Default = o.throttle("DefaultRouteSettings")
	if auth := o.child("Auth"); auth != nil {
		names, authorizers := auth.members("Authorizers")
		for i, authorizer := range authorizers {
			api.Authorizers[names[i]] = r.readAuthorizer(names[i], authorizer)
		}
		if name := auth.text("DefaultAuthorizer", ""); name != "" {
			if _, ok := api.Authorizers[name]; !ok {
				auth.fail("DefaultAuthorizer", "there is no authorizer %s", name)
			}
		}
		auth.done()
	}
	r.result.API = api
}

func (r *reader) readAuthorizer(name string, o *object) Authorizer {
	authorizer := Authorizer{Name: name, Function: o.named("FunctionArn", functionType, FunctionARN)}
	if !o.boolean("EnableFunctionDefaultPermissions", false) && !o.has("FunctionInvokeRole") {
		o.fail(
			"EnableFunctionDefaultPermissions",
			"must be true where there is no FunctionInvokeRole: the API may not invoke its authorizer",
		)
	}
	o.ignore("here the API may always invoke its authorizer", "FunctionInvokeRole")
	o.must("AuthorizerPayloadFormatVersion", "2.0")
	if !o.boolean("EnableSimpleResponses", false) {
		o.fail("EnableSimpleResponses", "must be true, the local stack reads no policies as answers")
	}
	if identity := o.child("Identity"); identity != nil {
		authorizer.Headers = identity.texts("Headers")
		authorizer.Cache = identity.seconds("ReauthorizeEvery", 0, 0, 3600)
		identity.done()
	}
	if len(authorizer.Headers) == 0 {
		o.fail("Identity", "must name Headers; the local stack knows no other identity source")
	}
	o.done()
	return authorizer
}

// defaultAuthorizer reads the API's default authorizer, which its routes need before the API
// itself may have been read.
func (r *reader) defaultAuthorizer(api *resource) string {
	if n := api.properties.get("Auth").get("DefaultAuthorizer"); n != nil {
		if value := r.evalText(n, api.id+": Properties.Auth.DefaultAuthorizer"); value != nil {
			return value.text
		}
	}
	return ""
}
