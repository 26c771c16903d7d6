package api

import (
	"time"

	"github.com/carillon-cron/carillon/job"
)

// Limits of requests about queues.
const (
	// MaxPut is how many items one request puts.
	MaxPut = 200
	// MaxItems is how many items one answer lists, or one request changes.
	MaxItems = 1000
)

// Queue is a queue and how it is.
type Queue struct {
	job.Queue
	// Hold is how it is held back; nil: it is not.
	Hold *QueueHold `json:"hold,omitempty"`
	// Waiting counts the items that nobody has, those included that wait for their
	// time; InHand those that workers have; Dead the dead letters.
	Waiting int64 `json:"waiting"`
	InHand  int64 `json:"inHand"`
	Dead    int64 `json:"dead"`
	// The rest is what the dispatcher has told last, at ToldAt; zero: it has not yet.
	ToldAt     time.Time  `json:"toldAt,omitzero"`
	Dispatcher job.NodeID `json:"dispatcher,omitempty"`
	// Delayed counts the waiting items that wait for their time.
	Delayed int `json:"delayed,omitempty"`
	// OldestPutAt is when the item was put that waits longest; zero: none does.
	OldestPutAt time.Time `json:"oldestPutAt,omitzero"`
	// DonePerSecond and FailedPerSecond are over the last minute.
	DonePerSecond   float64       `json:"donePerSecond,omitempty"`
	FailedPerSecond float64       `json:"failedPerSecond,omitempty"`
	Workers         []QueueWorker `json:"workers,omitempty"`
	// WorkersLeftOut counts those that are not among Workers.
	WorkersLeftOut int `json:"workersLeftOut,omitempty"`
}

// QueueHold says how a queue is held back, who wanted it, and since when.
type QueueHold struct {
	// Draining: it takes no new items. Else it is paused, and hands none out.
	Draining bool      `json:"draining,omitempty"`
	By       string    `json:"by,omitempty"`
	Reason   string    `json:"reason,omitempty"`
	Since    time.Time `json:"since"`
}

// QueueWorker is a minion that works on a queue.
type QueueWorker struct {
	Minion job.MinionID `json:"minion"`
	// Places is how many items it takes at once.
	Places int `json:"places"`
	// AwaySince is since when it is connected to no node; zero: it is connected.
	AwaySince time.Time `json:"awaySince,omitzero"`
	// Trouble is why it gets no items; empty: it does.
	Trouble string      `json:"trouble,omitempty"`
	Items   []QueueBusy `json:"items,omitempty"`
	// LeftOut counts items that are not among Items.
	LeftOut int `json:"leftOut,omitempty"`
}

// QueueBusy is an item in a worker's hands.
type QueueBusy struct {
	ID      string    `json:"id"`
	Attempt int       `json:"attempt"`
	RunID   job.RunID `json:"runId"`
	// Since is since when the worker has it, StartedAt since when it runs; zero: it is
	// not known to. HeardAt is when the worker told of it last.
	Since     time.Time `json:"since"`
	StartedAt time.Time `json:"startedAt,omitzero"`
	HeardAt   time.Time `json:"heardAt,omitzero"`
	// Progress is what the worker has said last. Nil: nothing.
	Progress *job.Progress `json:"progress,omitempty"`
}

// ItemState says how far an item has come.
type ItemState string

// The states of items.
const (
	ItemWaiting ItemState = "waiting"
	ItemDelayed ItemState = "delayed" // it waits for its time
	ItemInHand  ItemState = "in-hand"
	ItemDead    ItemState = "dead"
	ItemEnded   ItemState = "ended" // it is in the history of runs
)

// NewItem is an item that is put.
type NewItem struct {
	// ID names it in the queue. Empty: one is made. An item whose ID is there already
	// is left as it is.
	ID string `json:"id,omitempty"`
	// Priority is 0 to 9; higher goes first.
	Priority int `json:"priority,omitempty"`
	// Payload is what the queue's command gets.
	Payload string `json:"payload,omitempty"`
	// Key: of the items that have the same one, one is done at a time.
	Key string `json:"key,omitempty"`
	// Dedup: what is put with the same one within the queue's window is the same item.
	Dedup string `json:"dedup,omitempty"`
	// NotBefore is when it may be begun first; ExpiresAt until when it has to be.
	NotBefore time.Time `json:"notBefore,omitzero"`
	ExpiresAt time.Time `json:"expiresAt,omitzero"`
}

// PutItem tells of an item that was put.
type PutItem struct {
	ID string `json:"id"`
	// Duplicate: there was one already, with the ID or the de-duplication key.
	Duplicate bool `json:"duplicate,omitempty"`
}

// QueueItem is an item of a queue.
type QueueItem struct {
	ID    string    `json:"id"`
	State ItemState `json:"state"`
	// Priority is 0 to 9. Of an item that has ended it is 0: history does not keep it.
	Priority int `json:"priority"`
	// Payload is left out for callers who may not read logs of the queue.
	Payload   string    `json:"payload,omitempty"`
	Key       string    `json:"key,omitempty"`
	PutAt     time.Time `json:"putAt,omitzero"`
	NotBefore time.Time `json:"notBefore,omitzero"`
	ExpiresAt time.Time `json:"expiresAt,omitzero"`
	// Attempt counts how often a worker had it, LastError is why the last one failed.
	Attempt   int    `json:"attempt,omitempty"`
	LastError string `json:"lastError,omitempty"`
	// Minion has it since Since.
	Minion job.MinionID `json:"minion,omitempty"`
	Since  time.Time    `json:"since,omitzero"`
	// EndedAt is when it became a dead letter, or was done.
	EndedAt time.Time `json:"endedAt,omitzero"`
	// Cancelling says why it is being ended.
	Cancelling string `json:"cancelling,omitempty"`
	// RunID names its run, which history has once it has ended. Empty: no worker had it.
	RunID job.RunID `json:"runId,omitempty"`
	// Run is that of an item that has ended.
	Run *job.Run `json:"run,omitempty"`
	// Job, with its namespace, is the job whose occurrence the item does; FireID and
	// JobRunID name that. Empty: somebody put it.
	Job      string    `json:"job,omitempty"`
	FireID   string    `json:"fireId,omitempty"`
	JobRunID job.RunID `json:"jobRunId,omitempty"`
	// Plan, as UPSTREAM/ID, is the plan whose task Task the item does. Empty: of none.
	Plan string `json:"plan,omitempty"`
	Task string `json:"task,omitempty"`
}

// ItemQuery selects items of a queue.
type ItemQuery struct {
	// Dead: dead letters; else those that wait, or that workers have.
	Dead   bool
	Cursor string
	// Limit is at most MaxItems. Zero: 100.
	Limit int
}

// ItemPage is a page of items. Next is empty on the last one.
type ItemPage struct {
	Items []QueueItem `json:"items"`
	Next  string      `json:"next,omitempty"`
}

// ItemsChanged counts what an order to many items did. More: there are more of them,
// order it again.
type ItemsChanged struct {
	Count int  `json:"count"`
	More  bool `json:"more,omitempty"`
}

// QueueOrder is what is wanted of a queue as a whole.
type QueueOrder string

// The orders to queues.
const (
	// QueuePause has it hand out nothing; QueueDrain has it take no new items.
	QueuePause  QueueOrder = "pause"
	QueueDrain  QueueOrder = "drain"
	QueueResume QueueOrder = "resume"
)
