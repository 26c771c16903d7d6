package main

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/carillon-cron/carillon/internal/testkit/reap"
	"github.com/carillon-cron/carillon/job"
)

// withOldMinion is fromBackup, and an old copy of the data directory of a minion is put in
// its place: it has to notice that it does not know all.
func (r *restoring) withOldMinion(ctx context.Context) error {
	w := r.c.workers[r.rnd.IntN(len(r.c.workers))]
	dir := filepath.Join(r.c.dir, w.name)
	old := filepath.Join(r.c.dir, w.name+"-old")
	if err := os.RemoveAll(old); err != nil {
		return err
	}
	if err := r.downMinion(w, func() error { return copyFiles(old, dir) }); err != nil {
		return err
	}
	if err := until(ctx, func() error { return r.c.whole(ctx) }); err != nil {
		return err
	}
	return r.fromBackup(ctx, func(context.Context) ([]job.MinionID, error) {
		r.c.event("an old copy of the data of %s is put in its place", w.name)
		return []job.MinionID{job.MinionID(w.name)}, r.downMinion(w, func() error {
			if err := removeData(dir); err != nil {
				return err
			}
			return copyFiles(dir, old)
		})
	})
}

// withLostMinions is fromBackup, and half of the minions lose all of their data.
func (r *restoring) withLostMinions(ctx context.Context) error {
	return r.fromBackup(ctx, func(context.Context) ([]job.MinionID, error) {
		var lost []job.MinionID
		for _, i := range r.rnd.Perm(len(r.c.workers))[:len(r.c.workers)/2] {
			w := r.c.workers[i]
			r.c.event("the data of %s is lost", w.name)
			lost = append(lost, job.MinionID(w.name))
			if err := r.downMinion(w, func() error { return removeData(filepath.Join(r.c.dir, w.name)) }); err != nil {
				return nil, err
			}
		}
		return lost, nil
	})
}

// downMinion kills a minion, and what supervises its commands, does something about its
// data, and starts it again.
func (r *restoring) downMinion(w *process, about func() error) error {
	if _, err := w.stop(syscall.SIGKILL); err != nil {
		return err
	}
	reap.Dir(filepath.Join(filepath.Dir(w.log), w.name))
	if err := about(); err != nil {
		return err
	}
	return w.start()
}

// removeData removes a directory to which something may still be written.
func removeData(dir string) (err error) {
	for range 100 {
		if err = os.RemoveAll(dir); err == nil {
			return nil
		}
	}
	return err
}

// copyFiles copies the directories and files below a directory, and no sockets.
func copyFiles(to, from string) error {
	return filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		switch target := filepath.Join(to, rel); {
		case d.IsDir():
			return os.MkdirAll(target, info.Mode().Perm())
		case info.Mode().IsRegular():
			text, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			return os.WriteFile(target, text, info.Mode().Perm())
		}
		return nil
	})
}
