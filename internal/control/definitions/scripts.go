package definitions

import (
	"context"
	"fmt"
	"slices"

	mvccpb "go.etcd.io/etcd/api/v3/mvccpb"
	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/control/store"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
)

// Scripts returns the newest versions of the scripts of a namespace, or of all
// when it is empty, ordered by name, with their texts.
func (lib *Set) Scripts(ctx context.Context, namespace string) ([]job.SavedScript, error) {
	prefix := lib.db.Keys.ScriptHeads()
	if namespace != "" {
		prefix += namespace + "/"
	}
	heads, err := store.ListAll[etcdkv.ScriptHead](ctx, lib.db, "list scripts", prefix)
	if err != nil {
		return nil, err
	}
	keys := make([]string, len(heads))
	for i := range heads {
		keys[i] = lib.db.Keys.ScriptVersion(heads[i].Key, heads[i].Version)
	}
	kvs, err := lib.db.GetAll(ctx, "list scripts", keys)
	if err != nil {
		return nil, err
	}
	out := make([]job.SavedScript, 0, len(kvs))
	for _, kv := range kvs {
		if kv == nil {
			continue // deleted meanwhile
		}
		stored, err := store.Decode[etcdkv.StoredScript](kv)
		if err != nil {
			lib.log.Warn("script unreadable", zap.Error(err))
			continue
		}
		out = append(out, stored.SavedScript)
	}
	slices.SortFunc(out, func(a, b job.SavedScript) int { return a.Key().Compare(b.Key()) })
	return out, lib.addSources(ctx, out)
}

// addSources reads the texts that are kept apart.
func (lib *Set) addSources(ctx context.Context, scripts []job.SavedScript) error {
	var keys []string
	var at []int
	for i := range scripts {
		if scripts[i].Spec.Source == "" {
			keys, at = append(keys, lib.db.Keys.Blob(scripts[i].SHA256)), append(at, i)
		}
	}
	if len(keys) == 0 {
		return nil
	}
	kvs, err := lib.db.GetAll(ctx, "read scripts", keys)
	if err != nil {
		return err
	}
	for n, kv := range kvs {
		if kv == nil {
			return fmt.Errorf("the text of script %s is missing: %w", scripts[at[n]].Key(), job.ErrNotFound)
		}
		scripts[at[n]].Spec.Source = string(kv.Value)
	}
	return nil
}

// Script returns a script in the version that ref names, with its other versions
// and the jobs that name it.
func (lib *Set) Script(ctx context.Context, ref job.ScriptRef) (api.ScriptDetail, error) {
	all, err := store.ListAll[etcdkv.StoredScript](ctx, lib.db, "read script "+ref.Key.String(), lib.db.Keys.Script(ref.Key))
	if err != nil {
		return api.ScriptDetail{}, err
	}
	v := api.ScriptDetail{Versions: []api.ScriptVersion{}, Jobs: []api.ScriptUser{}}
	for i := range all {
		s := &all[i]
		if s.Version == ref.Version || ref.Version == 0 && s.Version > v.Version {
			v.SavedScript = s.SavedScript
		}
		v.Versions = append(v.Versions, api.ScriptVersion{Version: s.Version, SHA256: s.SHA256, CreatedAt: s.CreatedAt})
	}
	if v.Version == 0 {
		return v, fmt.Errorf("script %s: %w", ref, job.ErrNotFound)
	}
	slices.SortFunc(v.Versions, func(a, b api.ScriptVersion) int { return b.Version - a.Version })
	one := []job.SavedScript{v.SavedScript}
	if err := lib.addSources(ctx, one); err != nil {
		return v, err
	}
	v.SavedScript = one[0]
	users, err := lib.ScriptUsers(ctx, ref.Key)
	for _, u := range users.All {
		if !u.passing {
			v.Jobs = append(v.Jobs, u.ScriptUser)
		}
	}
	return v, err
}

// ScriptUse is a job that names a script.
type ScriptUse struct {
	api.ScriptUser
	// passing: it was made for one run, which may be done again while it is there.
	passing bool
}

// scriptUses are the jobs that name a script, as of a revision of the key that
// every further one puts.
type scriptUses struct {
	All []ScriptUse
	key string
	rev int64
}

// Same demands that no job has come to name the script since.
func (u *scriptUses) Same(d *store.Txn) { d.SameAs(u.key, u.rev) }

// conflict says which jobs keep the script from being removed; nil: none does.
func (u *scriptUses) conflict(key job.Key) error {
	var jobs, commands []job.Key
	for _, use := range u.All {
		keys := &jobs
		if use.passing {
			keys = &commands
		}
		if !slices.Contains(*keys, use.Job) {
			*keys = append(*keys, use.Job)
		}
	}
	switch {
	case len(jobs) > 0:
		return &UsedError{Thing: "script " + key.String(), By: jobs}
	case len(commands) > 0:
		return &UsedError{Thing: "script " + key.String(), By: commands, Passing: true}
	}
	return nil
}

// ScriptUsers returns the jobs whose steps name a script.
func (lib *Set) ScriptUsers(ctx context.Context, key job.Key) (*scriptUses, error) {
	users := &scriptUses{key: lib.db.Keys.ScriptUse(key)}
	kv, err := lib.db.Get(ctx, "read script "+key.String(), users.key)
	if err != nil {
		return nil, err
	}
	users.rev = store.Revision(kv)
	err = lib.db.List(ctx, "list jobs", lib.db.Keys.Jobs(), func(kv *mvccpb.KeyValue) error {
		stored, err := store.Decode[etcdkv.StoredJob](kv)
		if err != nil {
			return nil // what cannot be read is told of where jobs are listed
		}
		for _, ref := range stored.Spec.ScriptRefs(stored.Namespace) {
			if ref.Key == key {
				users.All = append(users.All, ScriptUse{api.ScriptUser{Job: stored.Key(), Version: ref.Version}, !stored.ExpiresAt.IsZero()})
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return users, nil
}

// Use adds to what makes a job name scripts: that they are there still, and that
// whoever removes one meanwhile sees this.
func (s *ScriptIndex) Use(d *store.Txn, keys etcdkv.Keys, refs []job.ScriptRef) {
	for _, ref := range refs {
		created := int64(0)
		if kv := s.Heads[ref.Key]; kv != nil {
			created = kv.CreateRevision
		}
		d.StillThere(keys.ScriptHead(ref.Key), created)
		if ref.Version != 0 {
			d.StillThere(keys.ScriptVersion(ref.Key, ref.Version), s.created[ref])
		}
		d.Put(keys.ScriptUse(ref.Key), "")
	}
}

// DeleteScript removes a script with all its versions. One that a job names is
// kept: the error wraps job.ErrConflict then.
func (lib *Set) DeleteScript(ctx context.Context, key job.Key) error {
	doing := "delete script " + key.String()
	kv, err := lib.db.Get(ctx, doing, lib.db.Keys.ScriptHead(key))
	if err != nil {
		return err
	}
	if kv == nil {
		return fmt.Errorf("script %s: %w", key, job.ErrNotFound)
	}
	users, err := lib.ScriptUsers(ctx, key)
	if err != nil {
		return err
	}
	if err := users.conflict(key); err != nil {
		return err
	}
	head, err := store.Decode[etcdkv.ScriptHead](kv)
	if err != nil {
		return fmt.Errorf("read script %s: %w", key, err)
	}
	newest, err := lib.db.Get(ctx, doing, lib.db.Keys.ScriptVersion(key, head.Version))
	if err != nil {
		return err
	}
	var d store.Txn
	users.Same(&d)
	d.SameAs(lib.db.Keys.ScriptHead(key), kv.ModRevision)
	d.Remove(lib.db.Keys.ScriptHead(key))
	d.Remove(users.key)
	d.Clear(lib.db.Keys.Script(key))
	if err := lib.audit.AddDelete(ctx, &d, "script", key.String(), newest); err != nil {
		return err
	}
	ok, err := lib.db.Commit(ctx, doing, &d)
	if err == nil && !ok {
		err = fmt.Errorf("script %s was changed meanwhile; try again: %w", key, job.ErrConflict)
	}
	if err == nil {
		lib.log.Info("script deleted", zap.Stringer("script", key))
	}
	return err
}

// IndexScripts reads the scripts that refs name.
func (lib *Set) IndexScripts(ctx context.Context, refs []job.ScriptRef) (*ScriptIndex, error) {
	s := &ScriptIndex{Heads: map[job.Key]*mvccpb.KeyValue{}, scripts: map[job.ScriptRef]*job.SavedScript{}, created: map[job.ScriptRef]int64{}}
	var keys []job.Key
	for _, r := range refs {
		if !slices.Contains(keys, r.Key) {
			keys = append(keys, r.Key)
		}
	}
	if len(keys) == 0 {
		return s, nil
	}
	names := make([]string, len(keys))
	for i, k := range keys {
		names[i] = lib.db.Keys.ScriptHead(k)
	}
	heads, err := lib.db.GetAll(ctx, "read scripts", names)
	if err != nil {
		return nil, err
	}
	names = names[:0]
	for i, kv := range heads {
		if kv == nil {
			continue
		}
		head, err := store.Decode[etcdkv.ScriptHead](kv)
		if err != nil {
			return nil, fmt.Errorf("read script %s: %w", keys[i], err)
		}
		s.Heads[keys[i]] = kv
		names = append(names, lib.db.Keys.ScriptVersion(keys[i], head.Version))
	}
	newest := len(names)
	for _, r := range refs {
		if r.Version != 0 {
			names = append(names, lib.db.Keys.ScriptVersion(r.Key, r.Version))
		}
	}
	kvs, err := lib.db.GetAll(ctx, "read scripts", names)
	if err != nil {
		return nil, err
	}
	for i, kv := range kvs {
		if kv == nil {
			continue
		}
		stored, err := store.Decode[etcdkv.StoredScript](kv)
		if err != nil {
			return nil, fmt.Errorf("read script %s: %w", kv.Key, err)
		}
		s.Place(&stored.SavedScript, i < newest)
		s.created[job.ScriptRef{Key: stored.Key(), Version: stored.Version}] = kv.CreateRevision
	}
	return s, nil
}

// ScriptIndex is the part of the library that is looked at.
type ScriptIndex struct {
	Heads   map[job.Key]*mvccpb.KeyValue
	scripts map[job.ScriptRef]*job.SavedScript
	// created are the revisions in which versions were stored.
	created map[job.ScriptRef]int64
}

// Place puts a version on the index.
func (s *ScriptIndex) Place(l *job.SavedScript, newest bool) {
	s.scripts[job.ScriptRef{Key: l.Key(), Version: l.Version}] = l
	if newest {
		s.scripts[job.ScriptRef{Key: l.Key()}] = l
	}
}

// Find is a job.ScriptFinder.
func (s *ScriptIndex) Find(ref job.ScriptRef) (*job.SavedScript, bool) {
	l, ok := s.scripts[ref]
	return l, ok
}

// CheckStart tells all that is wrong with starting a job with parameters, and
// returns them with defaults; apart those whose values are told nowhere.
func (lib *Set) CheckStart(ctx context.Context, namespace string, spec *job.Spec, params map[string]string) (plain, sensitive map[string]string, err error) {
	index, err := lib.IndexScripts(ctx, spec.ScriptRefs(namespace))
	if err != nil {
		return nil, nil, err
	}
	return index.CheckStart(namespace, spec, params)
}

// CheckStart is that of Set, of a job that names scripts of the index.
func (s *ScriptIndex) CheckStart(namespace string, spec *job.Spec, params map[string]string) (plain, sensitive map[string]string, err error) {
	plan, problems := spec.Plan(namespace, params, s.Find)
	if len(problems) > 0 {
		return nil, nil, &job.InvalidError{Problems: problems}
	}
	return plan.Params, plan.Sensitive, nil
}

// LargeText returns the text of a job's script that is kept apart; empty: none is.
func LargeText(s *job.Script) string {
	if s == nil || len(s.Source) <= job.SmallScript {
		return ""
	}
	return s.Source
}
