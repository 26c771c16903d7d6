package historytest

import "testing"

func TestMemory(t *testing.T) {
	t.Parallel()
	TestStore(t, func(*testing.T) Subject { return Subject{Store: NewMemory(Keep)} })
}
