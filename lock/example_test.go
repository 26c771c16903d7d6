package lock_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/carillon-cron/carillon/lock"
)

// Examples show usage; those without an Output comment are compiled, not run.

func Example() {
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{"localhost:2379"}})
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	ctx := context.Background()

	session, err := lock.Open(ctx, lock.SessionConfig{Holder: "host-1"}, lock.Deps{Client: client})
	if err != nil {
		log.Fatal(err)
	}
	defer session.Close(ctx)

	mutex, err := lock.NewMutex(session, "/locks/report", lock.MutexOptions{Purpose: "nightly report"})
	if err != nil {
		log.Fatal(err)
	}
	hold, err := mutex.Lock(ctx)
	if err != nil {
		log.Fatal(err)
	}
	// The work ends when the lock is lost, before anybody else can get it.
	work, cancel := hold.Context(ctx)
	defer cancel()

	// A write to the same etcd compares the fence: it cannot come too late.
	_, err = client.Txn(work).If(hold.Fence()).Then(clientv3.OpPut("/report/state", "done")).Commit()
	if err != nil {
		log.Print(err)
	}
	// Any other resource is given the token, and rejects lower ones than it has seen.
	fmt.Println("write with token", hold.Token())

	if err := hold.Unlock(ctx); err != nil {
		log.Print(err)
	}
}

func ExampleMutex_TryLock() {
	var mutex *lock.Mutex // of lock.NewMutex
	hold, err := mutex.TryLock(context.Background())
	var held *lock.HeldError
	switch {
	case errors.As(err, &held):
		fmt.Println("somebody else is at it:", held.Value)
	case err != nil:
		log.Fatal(err)
	default:
		defer hold.Unlock(context.Background())
	}
}

func ExampleMutexOptions() {
	var session *lock.Session // of lock.Open

	// Many readers or one writer. A writer that waits goes before readers that come later.
	reader, err := lock.NewMutex(session, "/locks/table", lock.MutexOptions{Shared: true})
	fmt.Println(reader, err)
	writer, err := lock.NewMutex(session, "/locks/table", lock.MutexOptions{})
	fmt.Println(writer, err)

	// At most four at once.
	download, err := lock.NewMutex(session, "/locks/download", lock.MutexOptions{Limit: 4})
	fmt.Println(download, err)

	// At most an hour, and if the lock was lost without Unlock, ten seconds until
	// the next one gets it.
	backup, err := lock.NewMutex(session, "/locks/backup", lock.MutexOptions{MaxHold: time.Hour, LockDelay: 10 * time.Second})
	fmt.Println(backup, err)
}

// A hold gives way to a contender of a higher priority that preempts it.
func ExampleHold_Preempted() {
	var session *lock.Session // of lock.Open
	ctx := context.Background()
	background, err := lock.NewMutex(session, "/locks/machine", lock.MutexOptions{Priority: 1, Grace: 10 * time.Second})
	if err != nil {
		log.Fatal(err)
	}
	hold, err := background.Lock(ctx)
	if err != nil {
		log.Fatal(err)
	}
	work, cancel := hold.Context(ctx) // ends when the grace is over
	defer cancel()
	select {
	case <-hold.Preempted():
		fmt.Println("save what there is, and make room")
	case <-work.Done():
		fmt.Println("too late:", context.Cause(work))
	}
	if err := hold.Unlock(ctx); err != nil {
		log.Print(err)
	}
}

// An operator sees who holds a lock, and takes it away, with a record of that.
func ExampleBreak() {
	var client *clientv3.Client // of clientv3.New
	ctx := context.Background()
	status, err := lock.Inspect(ctx, client, "/locks/report")
	if err != nil {
		log.Fatal(err)
	}
	for _, h := range status.Holders {
		fmt.Fprintf(os.Stdout, "%s holds it since %s for %q\n", h.Holder, h.HeldSince, h.Purpose)
		audit := clientv3.OpPut("/audit/1", "broken by me")
		err := lock.Break(ctx, client, status.Prefix, h.Revision, audit)
		var changed *lock.BreakError
		switch {
		case errors.As(err, &changed):
			fmt.Println("it changed hands; now it is held by", changed.Holders)
		case err != nil:
			log.Fatal(err)
		}
	}
}

// A server holds a lock for a client whose lease it does not own. The client
// polls: each poll may come to another server, and goes on where the last ended.
func ExampleBorrow() {
	var client *clientv3.Client // of clientv3.New
	poll := func(ctx context.Context, lease clientv3.LeaseID, left time.Duration, id string) (lock.Token, error) {
		session, err := lock.Borrow(lock.SessionConfig{Holder: "client-7"}, lock.Deps{Client: client}, lease, left)
		if err != nil {
			return lock.Token{}, err
		}
		defer session.Close(ctx) // leaves the lease, and the hold, alone
		mutex, err := lock.NewMutex(session, "/locks/report", lock.MutexOptions{ID: id, KeepPlace: true})
		if err != nil {
			return lock.Token{}, err
		}
		hold, err := mutex.Lock(ctx)
		if err != nil {
			return lock.Token{}, err // the place in the queue is kept
		}
		return hold.Token(), nil // and the hold too, until somebody calls Abandon
	}
	_ = poll
}
