package worker

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"go.uber.org/zap"
)

// upkeep does what is done now and then: it removes files that nobody needs, looks
// at the disk, and has sent and written again what could not be.
type upkeep struct {
	*base
	tasks     *tasks
	reporting *reporting
	execution *execution
	scripts   *scripts
	groups    *groups
}

// run does what is done now and then.
func (up *upkeep) run(ctx context.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	clean := time.NewTicker(time.Minute)
	defer clean.Stop()
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	up.lookAtDisk(time.Now())
	for {
		select {
		case <-ctx.Done():
			return
		case <-clean.C:
			up.cleanOutput(time.Now(), 0)
			up.scripts.clean(time.Now())
			up.cleanSteps(time.Now())
			up.cleanGroups()
			if err := up.tasks.journal.memory.refresh(); err != nil {
				up.log.Warn("a copy of the data directory may not be noticed", zap.Error(err))
			}
		case <-look.C:
			up.lookAtDisk(time.Now())
		case now := <-tick.C:
			notify(up.tasks.startWake) // tasks that were given back may not have come again
			up.execution.expireTexts()
			up.tasks.mu.Lock()
			up.tasks.out.resend(up.tasks.journal.taskTable, now)
			again := up.tasks.journal.unsettled
			up.tasks.journal.unsettled = nil
			did, err := up.tasks.journal.compact(now)
			up.tasks.mu.Unlock()
			if err != nil {
				up.fail(err)
			} else if did {
				up.log.Info("journal compacted", zap.Int64("bytes", up.tasks.journal.log.Size()))
			}
			if len(again) > 0 {
				up.reporting.settle(again)
			}
			up.reporting.probeJournal()
		}
	}
}

// lookAtDisk notes whether there is little room, and makes some.
func (up *upkeep) lookAtDisk(now time.Time) {
	free, err := up.deps.free(up.cfg.DataDir)
	if err != nil {
		up.log.Warn("room on the disk cannot be found out", zap.Error(err))
		return
	}
	lacking := up.cfg.MinFree - free
	if up.troubles.set(&up.troubles.disk, lacking > 0, TroubleDisk) && lacking > 0 {
		up.log.Error("little room on the disk; output files are removed", zap.Int64("freeBytes", free), zap.Int64("wanted", up.cfg.MinFree))
	}
	if lacking > 0 {
		up.cleanOutput(now, lacking)
	}
}

// cleanOutput removes output files that are too old, then the oldest until
// all fit and so many bytes as are lacking have become free. Files of open tasks
// stay.
func (up *upkeep) cleanOutput(now time.Time, lacking int64) {
	dir := up.cfg.path("output")
	entries, err := os.ReadDir(dir)
	if err != nil {
		up.log.Warn("output cannot be listed", zap.Error(err))
		return
	}
	type file struct {
		name string
		mod  time.Time
		size int64
	}
	var files []file
	var total int64
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			continue
		}
		f := file{name: e.Name(), mod: info.ModTime(), size: info.Size()}
		if st, ok := info.Sys().(*syscall.Stat_t); ok {
			f.size = st.Blocks * 512 // small files use whole blocks
		}
		total += f.size
		files = append(files, f)
	}
	slices.SortFunc(files, func(a, b file) int { return a.mod.Compare(b.mod) })
	for _, f := range files {
		if now.Sub(f.mod) < up.cfg.OutputKeep && total <= up.cfg.OutputTotal && lacking <= 0 {
			break
		}
		if key, err := parseTaskKey(f.name); err == nil {
			if _, open := up.tasks.open(key); open {
				continue
			}
		}
		if err := os.Remove(up.cfg.path("output", f.name)); err != nil {
			up.log.Warn("output file cannot be removed", zap.Error(err))
			continue
		}
		total -= f.size
		lacking -= f.size
	}
}

// newFor is how long a file of steps may be without its name, until it counts as
// torn: it takes no time to write one.
const newFor = 10 * time.Minute

// cleanSteps removes the files of tasks that have ended, and those that a process
// was writing when it was killed.
func (up *upkeep) cleanSteps(now time.Time) {
	entries, err := os.ReadDir(up.cfg.path(stepsDir))
	if err != nil {
		return
	}
	for _, e := range entries {
		if isNew(e.Name()) {
			if info, err := e.Info(); err != nil || now.Sub(info.ModTime()) < newFor {
				continue // about to get its name
			}
		}
		name, _, _ := cutLast(e.Name(), ".")
		if key, err := parseTaskKey(name); err == nil {
			if _, open := up.tasks.open(key); open {
				continue
			}
		}
		if err := os.Remove(filepath.Join(up.cfg.path(stepsDir), e.Name())); err != nil {
			up.log.Debug("file of a task's steps not removed", zap.Error(err))
		}
	}
}

// cleanGroups removes the groups of commands that have ended, once the last of the
// processes that they left behind has ended too.
func (up *upkeep) cleanGroups() {
	if up.groups.tree == nil {
		return
	}
	up.groups.tree.Sweep(up.groups.prefix, func(name string) bool {
		key, err := parseTaskKey(name)
		if err != nil {
			return true // not ours
		}
		_, open := up.tasks.open(key)
		return open
	})
}
