package app

import (
	"os"
	"path/filepath"
	"syscall"

	"github.com/carillon-cron/carillon/configs"
)

// etcdDirectory is where an etcd inside the node has its data.
func etcdDirectory(cfg configs.Scheduler) string { return filepath.Join(cfg.DataDir, "etcd") }

// files is how many files this process may have open, and has.
type files struct {
	limit uint64
	open  int
}

// openFiles measures. What cannot be measured is taken for little.
func openFiles() files {
	f := files{limit: 1024, open: 64}
	var r syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &r) == nil {
		f.limit = r.Cur
	}
	if entries, err := os.ReadDir("/proc/self/fd"); err == nil {
		f.open = len(entries)
	}
	return f
}

// share is how the files are divided.
type share struct {
	files

	// reserve is what the node itself keeps: its files, those of etcd, and
	// connections to etcd and to peers.
	reserve int
	// members, strangers, api and socket are connections, perAddress those of
	// strangers of one address.
	members, strangers, perAddress, api, socket int
	// tight: the least of all together is more than there is.
	tight bool
}

const (
	// leastReserve is kept for what is opened later. A node with an etcd of its
	// own, 512 shards, jobs that fire each second, readers and lists needs 22
	// files beside its connections, one more than when it has just opened:
	// TestReserveIsWhatANodeNeeds in test/attack measures that, and wants half of
	// the reserve left. Links to peers (two each), etcd's next
	// segments and snapshots, a database for history (its pool) and whatever is
	// read while files are served come on top, and are far below this.
	leastReserve = 256
	// mostFiles is where more files make no difference.
	mostFiles = 1 << 20
	// leastMembers is below which a limit is worth a warning.
	leastMembers = 512
)

// divide derives the bounds of connections from the limit of files. The reserve
// is twice what is open when everything of the node has been opened and nobody
// has connected, and leastReserve more. What is set wins over what is derived,
// as far as there is room.
func divide(f files, set configs.Connections) share {
	s := share{files: f, reserve: 2*f.open + leastReserve}
	left := max(int(min(f.limit, mostFiles))-s.reserve, 64)
	part := func(of, least, most int) int { return min(max(left/of, least), most, left/4) }
	s.api, s.socket, s.strangers = part(16, 64, 1024), part(64, 32, 128), part(16, 64, 2048)
	if set.Strangers > 0 {
		s.strangers = min(set.Strangers, left/2)
	}
	s.perAddress = max(s.strangers/4, 1)
	if set.PerAddress > 0 {
		s.perAddress = min(set.PerAddress, s.strangers)
	}
	s.members = max(left-s.api-s.socket-s.strangers, 1)
	if set.Minions > 0 {
		s.members = min(set.Minions, s.members)
	}
	s.tight = set.Minions == 0 && s.members < leastMembers
	return s
}
