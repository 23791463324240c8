package dynamodb

import (
	"github.com/docuhook/docuhook/infra/local/internal/awsjson"
	"github.com/docuhook/docuhook/infra/local/internal/dynamodb/attribute"
)

// Limits of AWS, in bytes.
const (
	maxItemSize  = 400 << 10
	maxHashSize  = 2048
	maxRangeSize = 1024
)

// Key is a key attribute. The zero Key stands for no key.
type Key struct {
	Name string
	Type attribute.Type // attribute.String, Number or Binary
}

// Projections of an index.
const (
	ProjectAll      = "ALL"
	ProjectKeysOnly = "KEYS_ONLY"
	ProjectInclude  = "INCLUDE"
)

// Index describes a secondary index. A local one has the table's hash key and can be read consistently.
type Index struct {
	Name             string
	Local            bool
	HashKey          Key
	RangeKey         Key // may be zero
	Projection       string
	NonKeyAttributes []string // for ProjectInclude
}

// Schema describes a table.
type Schema struct {
	Name         string
	ARN          string // "" for the ARN of Name in the database's region and account
	HashKey      Key
	RangeKey     Key // may be zero
	Indexes      []Index
	Stream       bool   // whether it has one
	StreamARN    string // "" for one made from ARN
	TTLAttribute string // "" for no expiry
}

func validation(format string, args ...any) *awsjson.Error {
	return awsjson.Errorf("ValidationException", format, args...)
}

// keySchema is the key of a table or an index.
type keySchema struct {
	hash, rang Key
}

func (k keySchema) keys() []Key {
	if k.rang.Name == "" {
		return []Key{k.hash}
	}
	return []Key{k.hash, k.rang}
}

func (k keySchema) has(name string) bool {
	return name == k.hash.Name || k.rang.Name != "" && name == k.rang.Name
}

// encode appends the encoding of the item's key attributes, which must be there.
func (k keySchema) encode(dst []byte, item attribute.Item) []byte {
	dst = attribute.AppendKey(dst, item[k.hash.Name])
	if k.rang.Name != "" {
		dst = attribute.AppendKey(dst, item[k.rang.Name])
	}
	return dst
}

// copyKeys copies the key attributes from one item to another.
func (k keySchema) copyKeys(dst, src attribute.Item) {
	for _, key := range k.keys() {
		dst[key.Name] = src[key.Name]
	}
}

// checkItem checks the key attributes of a whole item.
func (k keySchema) checkItem(item attribute.Item) error {
	for _, key := range k.keys() {
		v := item[key.Name]
		if v == nil {
			return validation("One or more parameter values were invalid: Missing the key %s in the item", key.Name)
		}
		if v.Type() != key.Type {
			return validation(
				"One or more parameter values were invalid: Type mismatch for key %s expected: %s actual: %s", key.Name, key.Type, v.Type(),
			)
		}
	}
	return k.checkSizes(item)
}

// checkKey checks what must be exactly a key.
func (k keySchema) checkKey(key attribute.Item) error {
	mismatch := validation("The provided key element does not match the schema")
	if len(key) != len(k.keys()) {
		return mismatch
	}
	for _, want := range k.keys() {
		if v := key[want.Name]; v == nil || v.Type() != want.Type {
			return mismatch
		}
	}
	return k.checkSizes(key)
}

func (k keySchema) checkSizes(item attribute.Item) error {
	for _, key := range k.keys() {
		switch v := item[key.Name]; {
		case v.S != nil && *v.S == "":
			return validation(
				"One or more parameter values are not valid. "+
					"The AttributeValue for a key attribute cannot contain an empty string value. Key: %s",
				key.Name,
			)
		case v.B != nil && len(v.B) == 0:
			return validation(
				"One or more parameter values are not valid. "+
					"The AttributeValue for a key attribute cannot contain an empty binary value. Key: %s",
				key.Name,
			)
		}
	}
	if item[k.hash.Name].Size() > maxHashSize {
		return validation("One or more parameter values were invalid: Size of hashkey has exceeded the maximum size limit of2048 bytes")
	}
	if k.rang.Name != "" && item[k.rang.Name].Size() > maxRangeSize {
		return validation(
			"One or more parameter values were invalid: Aggregated size of all range keys has exceeded the size limit of 1024 bytes",
		)
	}
	return nil
}

// index is an index with the rows that have its key attributes, in the order of its keys and, among
// equal ones, of the table's keys.
type index struct {
	Index
	keySchema
	table keySchema
	rows  tree[*entry]
}

// entry is what an index holds of a row.
type entry struct {
	key  string
	item attribute.Item
	size int
}

// checkItem checks the attributes of an item that are key attributes of the index.
func (x *index) checkItem(item attribute.Item) error {
	for _, key := range x.keys() {
		v := item[key.Name]
		switch {
		case v == nil:
		case v.Type() != key.Type:
			return validation(
				"One or more parameter values were invalid: Type mismatch for Index Key %s Expected: %s Actual: %s IndexName: %s", key.Name,
				key.Type, v.Type(), x.Name,
			)
		case v.S != nil && *v.S == "":
			return validation(
				"One or more parameter values are not valid. A value specified for a secondary index key is not supported. "+
					"The AttributeValue for a key attribute cannot contain an empty string value. IndexName: %s, IndexKey: %s",
				x.Name, key.Name,
			)
		case v.B != nil && len(v.B) == 0:
			return validation(
				"One or more parameter values are not valid. A value specified for a secondary index key is not supported. "+
					"The AttributeValue for a key attribute cannot contain an empty binary value. IndexName: %s, IndexKey: %s",
				x.Name, key.Name,
			)
		case key == x.hash && v.Size() > maxHashSize:
			return validation("One or more parameter values were invalid: Size of hashkey has exceeded the maximum size limit of2048 bytes")
		case key == x.rang && v.Size() > maxRangeSize:
			return validation(
				"One or more parameter values were invalid: Aggregated size of all range keys has exceeded the size limit of 1024 bytes",
			)
		}
	}
	return nil
}

// entryOf returns what the index holds of an item, or nil: an item without all its key attributes is not in it.
func (x *index) entryOf(item attribute.Item, itemSize int) *entry {
	for _, key := range x.keys() {
		if item[key.Name] == nil {
			return nil
		}
	}
	key := x.encode(make([]byte, 0, 128), item)
	e := &entry{key: string(x.table.encode(key, item)), item: item, size: itemSize}
	if x.Projection == ProjectAll {
		return e
	}
	e.item = attribute.Item{}
	x.copyKeys(e.item, item)
	x.table.copyKeys(e.item, item)
	if x.Projection == ProjectInclude {
		for _, name := range x.NonKeyAttributes {
			if v := item[name]; v != nil {
				e.item[name] = v
			}
		}
	}
	e.size = e.item.Size()
	return e
}

// projects reports whether the index holds an attribute.
func (x *index) projects(name string) bool {
	if x.Projection == ProjectAll || x.has(name) || x.table.has(name) {
		return true
	}
	if x.Projection == ProjectInclude {
		for _, included := range x.NonKeyAttributes {
			if included == name {
				return true
			}
		}
	}
	return false
}
