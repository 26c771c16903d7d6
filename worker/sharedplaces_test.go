package worker

import (
	"fmt"
	"strings"
	"testing"

	"github.com/carillon-cron/carillon/agentpush/agentpb"
)

// TestSharedPlaces: neither a task nor an account takes all places, and what does not wait
// has room left.
func TestSharedPlaces(t *testing.T) {
	t.Parallel()
	p := newSharedPlaces()
	var leaves []func()
	take := func(task int, account string, waits bool) string {
		leave, why := p.take(keyOf(orderFor(task).Task), account, waits)
		if leave != nil {
			leaves = append(leaves, leave)
		}
		return why
	}
	fill := func(account string, from, to int) string {
		for i := from; i < to; i++ {
			if why := take(i/taskShared, account, true); why != "" {
				return fmt.Sprintf("%d: %s", i, why)
			}
		}
		return ""
	}
	if why := fill("a", 0, taskShared); why != "" {
		t.Fatal(why)
	}
	if why := take(0, "a", true); !strings.Contains(why, "the task asks") {
		t.Errorf("one task: %q", why)
	}
	if why := take(0, "a", false); why != "" {
		t.Errorf("a task that waits asks for something else: %q", why)
	}
	if why := fill("a", taskShared, accountShared); why != "" {
		t.Fatal(why)
	}
	if why := take(500, "a", true); !strings.Contains(why, "one account") {
		t.Errorf("one account: %q", why)
	}
	if why := fill("b", accountShared, waitShared); why != "" {
		t.Fatal(why)
	}
	if why := take(501, "c", true); !strings.Contains(why, "the minion's tasks wait") {
		t.Errorf("all that wait: %q", why)
	}
	for i := len(leaves); i < agentpb.MaxShared; i++ {
		if why := take(600+i, "c", false); why != "" {
			t.Fatalf("what does not wait, %d: %s", i, why)
		}
	}
	if why := take(502, "c", false); !strings.Contains(why, "the minion's tasks ask") {
		t.Errorf("all: %q", why)
	}
	for _, leave := range leaves {
		leave()
	}
	if len(p.held) != 0 || p.all != 0 || p.waiting != 0 {
		t.Errorf("left: %v, %d, %d", p.held, p.all, p.waiting)
	}
}
