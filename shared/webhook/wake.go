package webhook

import "hash/fnv"

// WakeShards is the number of shards that waiting deliveries are spread over, so that no partition of the index
// that the sweep reads has to bear all writes.
const WakeShards = 16

// Wake is the entry of a waiting delivery in the list that the sweep reads.
type Wake struct {
	ConfigID      string
	EventID       string
	WakeAt        Time
	NextAttemptAt Time
}

// WakeShard returns the shard of the delivery of an event to a config, from 0.
func WakeShard(configID, eventID string) int {
	hash := fnv.New32a()
	hash.Write([]byte(configID))
	hash.Write([]byte(eventID))
	return int(hash.Sum32() % WakeShards)
}
