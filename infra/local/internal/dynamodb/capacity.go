package dynamodb

// A read unit is 4 KB read consistently, a write unit 1 KB written.
const (
	readUnit  = 4 << 10
	writeUnit = 1 << 10
)

func writeUnits(size int) float64 { return float64((max(size, 1) + writeUnit - 1) / writeUnit) }

func readUnits(size int, consistent bool) float64 {
	units := float64((max(size, 1) + readUnit - 1) / readUnit)
	if !consistent {
		units /= 2
	}
	return units
}

// capacity is what an operation consumed of one table. The zero value of its numbers is nothing.
type capacity struct {
	table       *table
	tableUnits  float64
	indexUnits  map[string]float64
	failedUnits float64 // of statements that failed, which are in the total and in no detail
	transaction bool    // which counts double
	reads       bool    // units are read units, else write units
}

func (c *capacity) write(size int) { c.tableUnits += writeUnits(size) }

func (c *capacity) read(size int, consistent bool) {
	c.reads = true
	c.tableUnits += readUnits(size, consistent)
}

func (c *capacity) writeIndex(x *index, units float64) {
	if units == 0 {
		return
	}
	if c.indexUnits == nil {
		c.indexUnits = map[string]float64{}
	}
	c.indexUnits[x.Name] += units
}

func (c *capacity) add(other capacity) {
	c.tableUnits += other.tableUnits
	c.failedUnits += other.failedUnits
	for name, units := range other.indexUnits {
		if c.indexUnits == nil {
			c.indexUnits = map[string]float64{}
		}
		c.indexUnits[name] += units
	}
}

// consumedCapacity is the ConsumedCapacity of a response.
type consumedCapacity struct {
	TableName              string
	CapacityUnits          float64
	ReadCapacityUnits      float64              `json:",omitzero"`
	WriteCapacityUnits     float64              `json:",omitzero"`
	Table                  *unitCount           `json:",omitempty"`
	GlobalSecondaryIndexes map[string]unitCount `json:",omitempty"`
	LocalSecondaryIndexes  map[string]unitCount `json:",omitempty"`
}

type unitCount struct {
	CapacityUnits      float64
	ReadCapacityUnits  float64 `json:",omitzero"`
	WriteCapacityUnits float64 `json:",omitzero"`
}

// report returns the ConsumedCapacity in the detail that a request asked for, or nil for NONE.
func (c capacity) report(detail string) *consumedCapacity {
	if detail != "TOTAL" && detail != "INDEXES" {
		return nil
	}
	all := c.tableUnits + c.failedUnits
	for _, units := range c.indexUnits {
		all += units
	}
	total := c.count(all)
	result := &consumedCapacity{
		TableName: c.table.schema.Name, CapacityUnits: total.CapacityUnits,
		ReadCapacityUnits: total.ReadCapacityUnits, WriteCapacityUnits: total.WriteCapacityUnits,
	}
	if detail == "TOTAL" {
		return result
	}
	own := c.count(c.tableUnits)
	result.Table = &own
	for _, x := range c.table.indexes {
		units, ok := c.indexUnits[x.Name]
		if !ok {
			continue
		}
		kind := &result.GlobalSecondaryIndexes
		if x.Local {
			kind = &result.LocalSecondaryIndexes
		}
		if *kind == nil {
			*kind = map[string]unitCount{}
		}
		(*kind)[x.Name] = c.count(units)
	}
	return result
}

// count doubles the units of a transaction, for which AWS also says whether they were read or written.
func (c capacity) count(units float64) unitCount {
	if !c.transaction {
		return unitCount{CapacityUnits: units}
	}
	units *= 2
	if c.reads {
		return unitCount{CapacityUnits: units, ReadCapacityUnits: units}
	}
	return unitCount{CapacityUnits: units, WriteCapacityUnits: units}
}

// bill sums up capacities by table, in the order in which the tables first came.
type bill struct {
	tables []*table
	sums   map[*table]*capacity
}

func (b *bill) add(c capacity) {
	if b.sums == nil {
		b.sums = map[*table]*capacity{}
	}
	sum := b.sums[c.table]
	if sum == nil {
		sum = &capacity{table: c.table, transaction: c.transaction, reads: c.reads}
		b.sums[c.table] = sum
		b.tables = append(b.tables, c.table)
	}
	sum.add(c)
}

func (b *bill) report(detail string) []*consumedCapacity {
	if detail != "TOTAL" && detail != "INDEXES" {
		return nil
	}
	result := make([]*consumedCapacity, 0, len(b.tables))
	for _, t := range b.tables {
		result = append(result, b.sums[t].report(detail))
	}
	return result
}
