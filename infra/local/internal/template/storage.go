package template

import "encoding/json"

func (r *reader) readTable(id string, o *object) {
	table := Table{Name: id}
	o.must("BillingMode", "PAY_PER_REQUEST")
	table.Protected = o.boolean("DeletionProtectionEnabled", false)
	o.ignore("tables here live in memory and are gone when the stack stops",
		"PointInTimeRecoverySpecification", "SSESpecification")
	o.ignore("it is text for people", "Tags")

	types := map[string]string{}
	used := map[string]bool{}
	for _, definition := range o.list("AttributeDefinitions") {
		types[definition.required("AttributeName")] = definition.must("AttributeType", "S", "N", "B")
		definition.done()
	}
	keys := func(o *object) (partition, sort Key) {
		for _, key := range o.list("KeySchema") {
			name := key.required("AttributeName")
			if types[name] == "" {
				key.fail("AttributeName", "%q is not among AttributeDefinitions", name)
			}
			used[name] = true
			switch kind := key.required("KeyType"); {
			case kind == "HASH" && partition.Name == "":
				partition = Key{Name: name, Type: types[name]}
			case kind == "RANGE" && partition.Name != "" && sort.Name == "":
				sort = Key{Name: name, Type: types[name]}
			default:
				key.fail("KeyType", "must be one HASH and then at most one RANGE")
			}
			key.done()
		}
		if partition.Name == "" {
			o.fail("KeySchema", "must have a HASH key")
		}
		return partition, sort
	}
	indexes := func(member string) []Index {
		var result []Index
		for _, i := range o.list(member) {
			index := Index{Name: i.required("IndexName")}
			index.PartitionKey, index.SortKey = keys(i)
			if projection := i.child("Projection"); projection == nil {
				i.fail("Projection", "is required")
			} else {
				index.Projection = projection.must("ProjectionType", "ALL", "KEYS_ONLY", "INCLUDE")
				index.NonKeyAttributes = projection.texts("NonKeyAttributes")
				if (index.Projection == "INCLUDE") != (len(index.NonKeyAttributes) > 0) {
					projection.fail("NonKeyAttributes", "belongs to ProjectionType INCLUDE, and only to it")
				}
				projection.done()
			}
			i.done()
			result = append(result, index)
		}
		return result
	}
	table.PartitionKey, table.SortKey = keys(o)
	table.Global = indexes("GlobalSecondaryIndexes")
	table.Local = indexes("LocalSecondaryIndexes")
	for _, index := range table.Local {
		if index.PartitionKey != table.PartitionKey || index.SortKey.Name == "" {
			o.fail("LocalSecondaryIndexes", "%s must have the table's HASH key and a RANGE key", index.Name)
		}
	}
	for name := range types {
		if !used[name] {
			o.fail("AttributeDefinitions", "%q is in no key, which AWS refuses", name)
		}
	}
	if stream := o.child("StreamSpecification"); stream != nil {
		table.Stream = stream.must("StreamViewType", "NEW_AND_OLD_IMAGES") != ""
		stream.done()
	}
	if ttl := o.child("TimeToLiveSpecification"); ttl != nil {
		if ttl.required("Enabled"); ttl.boolean("Enabled", false) {
			table.TTLAttribute = ttl.required("AttributeName")
		} else {
			ttl.text("AttributeName", "")
		}
		ttl.done()
	}
	r.result.Tables = append(r.result.Tables, table)
}

func (r *reader) readQueue(id string, o *object) {
	queue := Queue{
		Name:            id,
		Visibility:      o.seconds("VisibilityTimeout", 30, 0, 43200),
		Retention:       o.seconds("MessageRetentionPeriod", 4*day, 60, 14*day),
		Delay:           o.seconds("DelaySeconds", 0, 0, 900),
		ReceiveWait:     o.seconds("ReceiveMessageWaitTimeSeconds", 0, 0, 20),
		MaxMessageBytes: o.integer("MaximumMessageSize", 1<<20, 1024, 1<<20),
	}
	o.ignore("messages here live in memory", "SqsManagedSseEnabled", "KmsMasterKeyId", "KmsDataKeyReusePeriodSeconds")
	o.ignore("it is text for people", "Tags")
	if o.boolean("FifoQueue", false) {
		o.fail("FifoQueue", "is not supported by the local stack")
	}
	if policy := o.child("RedrivePolicy"); policy != nil {
		queue.DeadLetterQueue = policy.named("deadLetterTargetArn", queueType, QueueARN)
		queue.MaxReceiveCount = policy.integer("maxReceiveCount", 0, 1, 1000)
		if !policy.has("maxReceiveCount") {
			policy.fail("maxReceiveCount", "is required")
		}
		policy.done()
	}
	r.result.Queues = append(r.result.Queues, queue)
}

func (r *reader) readSecret(id string, o *object) {
	secret := Secret{Name: id, Description: o.text("Description", ""), Value: o.text("SecretString", "")}
	o.ignore("secrets here live in memory", "KmsKeyId")
	o.ignore("it is text for people", "Tags")
	if g := o.child("GenerateSecretString"); g != nil {
		generate := &Generate{
			Template:           g.text("SecretStringTemplate", ""),
			Key:                g.text("GenerateStringKey", ""),
			Length:             g.integer("PasswordLength", 32, 4, 4096),
			ExcludePunctuation: g.boolean("ExcludePunctuation", false),
		}
		var members map[string]any
		if (generate.Template == "") != (generate.Key == "") {
			g.fail("GenerateStringKey", "belongs together with SecretStringTemplate")
		} else if generate.Template != "" && json.Unmarshal([]byte(generate.Template), &members) != nil {
			g.fail("SecretStringTemplate", "is not a JSON object")
		}
		g.done()
		secret.Generate = generate
	}
	if o.has("SecretString") == (secret.Generate != nil) {
		o.fail("GenerateSecretString", "exactly one of it and SecretString is required")
	}
	r.result.Secrets = append(r.result.Secrets, secret)
}
