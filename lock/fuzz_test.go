package lock

import (
	"testing"

	"go.etcd.io/etcd/api/v3/mvccpb"

	"github.com/carillon-cron/carillon/internal/testkit/fuzzed"
)

// FuzzRecords: whatever lies under a lock's keys is read or refused, and what was
// read is written and read again as the same.
func FuzzRecords(f *testing.F) {
	fuzzed.Run(f, func(t *testing.T, key string, value []byte) {
		_, _ = locate(key)
		_, _ = guardOf(&mvccpb.KeyValue{Key: []byte(key), Value: value})
		r, err := decodeRecord(value)
		if err != nil {
			return
		}
		text, err := r.encode()
		if err != nil {
			return // its value was no JSON on its own
		}
		again, err := decodeRecord([]byte(text))
		if err != nil {
			t.Fatalf("%s is refused: %v", text, err)
		}
		if twice, err := again.encode(); err != nil || twice != text {
			t.Errorf("%s is read again as %s, %v", text, twice, err)
		}
	})
}
