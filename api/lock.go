package api

import (
	"time"

	"github.com/carillon-cron/carillon/job"
)

// LockSession is an open session.
type LockSession struct {
	// Session is known to the client alone.
	Session string `json:"session"`
	// TTL is the seconds that it lives without a renewal, as granted.
	TTL int64 `json:"ttl"`
}

// Limits of sessions and of waiting.
const (
	MinLockTTL  = time.Second
	MaxLockTTL  = time.Hour
	MaxLockWait = 20 * time.Second
)

// LockRenewal is the answer to a renewal.
type LockRenewal struct {
	// TTL is the seconds that the session lives from when the request came.
	TTL int64 `json:"ttl"`
	// Held: the client's hold is there. Preempted: somebody of a higher
	// priority asks for the lock. Both are of the lock that was asked about.
	Held      bool `json:"held"`
	Preempted bool `json:"preempted,omitempty"`
}

// LockRequest asks for a lock.
type LockRequest struct {
	Session string `json:"session"`
	// Place is the client's own name for its place in the queue: asking again
	// with the same one goes on waiting, or finds that the lock was got.
	Place   string `json:"place"`
	Purpose string `json:"purpose,omitempty"`
	// The rest is as in lock.MutexOptions.
	Shared    bool         `json:"shared,omitempty"`
	Limit     int          `json:"limit,omitempty"`
	Priority  int          `json:"priority,omitempty"`
	Preempt   bool         `json:"preempt,omitempty"`
	Grace     job.Duration `json:"grace,omitempty"`
	MaxHold   job.Duration `json:"maxHold,omitempty"`
	LockDelay job.Duration `json:"lockDelay,omitempty"`
	// Try: do not wait, and take no place.
	Try bool `json:"try,omitempty"`
	// Wait is how long the node may wait before it answers. At most MaxLockWait.
	Wait job.Duration `json:"wait,omitempty"`
}

// LockAnswer says whether the lock was got.
type LockAnswer struct {
	Held  bool      `json:"held"`
	Token job.Token `json:"token"`
	// Status is who holds and waits instead, when it was not.
	Status *Lock `json:"status,omitempty"`
}

// Lock is who holds a lock and who waits for it.
type Lock struct {
	Namespace string          `json:"namespace"`
	Name      string          `json:"name"`
	Holders   []LockContender `json:"holders"`
	Waiters   []LockContender `json:"waiters"`
	// Delayed is how many were lost without unlocking and keep others out for
	// their lock delay.
	Delayed int `json:"delayed,omitempty"`
}

// Key returns the lock's address.
func (v *Lock) Key() job.Key { return job.Key{Namespace: v.Namespace, Name: v.Name} }

// LockContender holds a lock, or waits for it.
type LockContender struct {
	// Holder is who it is as that is proven, where it is, and then what the client says.
	Holder  string `json:"holder"`
	Purpose string `json:"purpose,omitempty"`
	// Since is when the lock was got; of a waiter, when it came.
	Since time.Time `json:"since"`
	// Token is the fencing token of a holder.
	Token    job.Token    `json:"token"`
	Shared   bool         `json:"shared,omitempty"`
	Limit    int          `json:"limit,omitempty"`
	Priority int          `json:"priority,omitempty"`
	MaxHold  job.Duration `json:"maxHold,omitempty"`
}
