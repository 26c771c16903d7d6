package etcdkv

import (
	"testing"

	"github.com/carillon-cron/carillon/internal/testkit/fuzzed"
)

// FuzzDecodeState: a shard's state, with its cursor, is read or refused, and
// what was read is written and read again as the same.
func FuzzDecodeState(f *testing.F) {
	fuzzed.Run(f, func(t *testing.T, value []byte) {
		s, err := Decode[ShardState]("state", value)
		if err != nil {
			return
		}
		text, err := Encode(s)
		if err != nil {
			return // a year that JSON cannot have
		}
		again, err := Decode[ShardState]("state", []byte(text))
		if err != nil || !again.Cursor.Equal(s.Cursor) || again.Seq != s.Seq {
			t.Errorf("%+v is read again as %+v, %v", s, again, err)
		}
	})
}
