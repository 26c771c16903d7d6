package scheduler

import (
	"testing"
	"unsafe"
)

// A node may hold a million jobs. An entry fills one of the allocator's sizes: a word
// more, and each takes 32 bytes more.
func TestAnEntryIsSmall(t *testing.T) {
	t.Parallel()
	if size := unsafe.Sizeof(entry{}); size > 256 {
		t.Errorf("an entry has %d bytes", size)
	}
}
