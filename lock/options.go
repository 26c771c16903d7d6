package lock

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// MutexOptions says how a mutex is used. The zero value is a plain lock: one
// holder, first come, first served.
type MutexOptions struct {
	// Purpose is shown to people beside the holder.
	Purpose string

	// Shared asks for the lock together with others that share it; a contender
	// that does not share it excludes all.
	Shared bool
	// Limit is how many may hold the lock at once: a counting semaphore. Zero
	// and one: one. All contenders of a lock must name the same limit.
	Limit int

	// Priority is the place in the queue: higher is served first, equal is
	// first come, first served. It is 32 bit.
	Priority int
	// Preempt asks holders of a lower priority to make room; see Hold.Preempted.
	Preempt bool
	// Grace is how long a hold may go on once somebody preempts it, and then
	// how long Unlock has before the lock is freed without it.
	Grace time.Duration
	// MaxHold ends the hold that long after it was granted, however alive its
	// session is. Zero: never.
	MaxHold time.Duration
	// LockDelay keeps others out that long, in whole seconds, rounded up, after
	// the hold was lost without Unlock. Etcd may make it a little longer. Zero: no delay.
	LockDelay time.Duration
	// Reentrant lets Lock return at once if the session has the lock by a
	// reentrant mutex already. It is free when each hold is unlocked.
	Reentrant bool

	// ID names the contender; another Lock with the same ID, prefix, kind,
	// priority and lease resumes its place or hold instead of taking another.
	// Empty: each call is a contender of its own.
	ID string
	// KeepPlace leaves the place in the queue when Lock's context ends, so that
	// another Lock resumes it, until the lease ends or Abandon removes it. It
	// needs an ID.
	KeepPlace bool
}

const (
	// MaxLimit is the highest limit of a semaphore.
	MaxLimit = 10_000
	// MaxLockDelay is the longest lock delay.
	MaxLockDelay = 24 * time.Hour

	maxName = 1024
)

// check returns all that is wrong with the options and the prefix.
func (o *MutexOptions) check(prefix string) error {
	errs := []error{checkPrefix(prefix)}
	bad := func(is bool, format string, args ...any) {
		if is {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	bad(o.Limit < 0 || o.Limit > MaxLimit, "limit is %d, want 1 to %d, or 0 for one holder", o.Limit, MaxLimit)
	bad(o.Shared && o.Limit != 0, "shared with limit %d, want one of them", o.Limit)
	bad(o.Priority < math.MinInt32 || o.Priority > math.MaxInt32, "priority is %d, want 32 bit", o.Priority)
	bad(o.Grace < 0, "grace is %s, want 0 or more", o.Grace)
	bad(o.MaxHold < 0, "max hold is %s, want 0 for ever, or more", o.MaxHold)
	bad(o.LockDelay < 0 || o.LockDelay > MaxLockDelay, "lock delay is %s, want 0 to %s", o.LockDelay, MaxLockDelay)
	bad(o.KeepPlace && o.ID == "", "keep place without an id, want one to resume it by")
	bad(o.Reentrant && o.ID != "", "reentrant with an id, want one of them: an id is one contender")
	bad(strings.Contains(o.ID, "/"), "id %q has a slash", o.ID)
	bad(!plain(o.ID), "id %q has a character that cannot be shown", o.ID)
	bad(len(o.ID) > maxName, "id is %d bytes long, want at most %d", len(o.ID), maxName)
	return errors.Join(errs...)
}

func checkPrefix(prefix string) error {
	switch {
	case strings.Trim(prefix, "/") == "":
		return errors.New("prefix is empty")
	case !plain(prefix):
		return fmt.Errorf("prefix %q has a character that cannot be shown", prefix)
	case len(prefix) > maxName:
		return fmt.Errorf("prefix is %d bytes long, want at most %d", len(prefix), maxName)
	}
	return nil
}

// plain reports whether s is text that can be shown to people as it is.
func plain(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) })
}
