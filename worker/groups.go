package worker

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/worker/cgroup"
)

// NoCgroup is the value of Config.Cgroup that keeps commands out of control groups.
const NoCgroup = "none"

// groups are the control groups of the commands.
type groups struct {
	tree *cgroup.Tree // nil: there are none
	// why says what keeps the minion from having groups.
	why error
	// prefix begins the names of this minion's groups, so that minions that
	// share a host do not take each other's away.
	prefix string
}

// openGroups finds out whether commands can have control groups.
func openGroups(cfg *Config) groups {
	sum := sha256.Sum256([]byte(cfg.DataDir))
	g := groups{prefix: hex.EncodeToString(sum[:4]) + "-"}
	dir := cfg.Cgroup
	switch dir {
	case NoCgroup:
		g.why = errors.New("the minion was started with --cgroup " + NoCgroup)
		return g
	case "":
		if dir, g.why = cgroup.Here(); g.why != nil {
			return g
		}
	}
	g.tree, g.why = cgroup.Open(dir)
	return g
}

// place makes the group of a command, with its limits. A command without limits
// goes without a group where there can be none.
func (g *groups) place(key string, l job.Limits) (dir string, bounded bool, err error) {
	bounded = l != job.Limits{}
	err = g.why
	if g.tree != nil {
		dir, err = g.tree.Make(g.prefix+key, cgroup.Limits{Memory: int64(l.Memory), Pids: int64(l.Pids), CPU: int64(l.CPU)})
	}
	switch {
	case err == nil:
		return dir, bounded, nil
	case bounded:
		return "", false, fmt.Errorf("limits cannot be enforced on this host: %w", err)
	}
	return "", false, nil
}
