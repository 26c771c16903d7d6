package members

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

func (d *door) ask(ctx context.Context, method string, handler grpc.UnaryHandler) error {
	_, err := d.unary(ctx, nil, &grpc.UnaryServerInfo{FullMethod: method}, handler)
	return err
}

// A door that is closed waits for who is inside, turns others away with the word that
// nothing was done, and lets those in that ask for this very member.
func TestDoorTurnsClientsAway(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := &door{}
		done := make(chan struct{})
		inside := make(chan error)
		go func() {
			inside <- d.ask(t.Context(), etcdserverpb.KV_Put_FullMethodName, func(context.Context, any) (any, error) { <-done; return nil, nil })
		}()
		synctest.Wait()
		closed := make(chan struct{})
		go func() { d.close(t.Context()); close(closed) }()
		synctest.Wait()
		select {
		case <-closed:
			t.Fatal("it did not wait for who is inside")
		default:
		}
		never := func(context.Context, any) (any, error) {
			t.Error("a request got in")
			return nil, nil
		}
		if err := d.ask(t.Context(), etcdserverpb.KV_Put_FullMethodName, never); status.Code(err) != codes.Unavailable {
			t.Errorf("turned away with %v", err)
		}
		watch := func(any, grpc.ServerStream) error { t.Error("a watch got in"); return nil }
		if err := d.stream(nil, nil, nil, watch); status.Code(err) != codes.Unavailable {
			t.Errorf("turned away with %v", err)
		}
		panics := func(context.Context, any) (any, error) { panic("not a member") }
		if err := d.ask(t.Context(), etcdserverpb.Maintenance_Status_FullMethodName, panics); status.Code(err) != codes.Unavailable {
			t.Errorf("asked for its status, it says %v", err)
		}
		close(done)
		if err := <-inside; err != nil {
			t.Errorf("who was inside got %v", err)
		}
		<-closed
		d.open()
		if err := d.ask(t.Context(), etcdserverpb.KV_Put_FullMethodName, func(context.Context, any) (any, error) { return nil, nil }); err != nil {
			t.Errorf("open again: %v", err)
		}
	})
}

// It waits for its time only.
func TestDoorClosesThoughSomebodyIsInside(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := &door{}
		if !d.enter() {
			t.Fatal("nobody gets in")
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		begin := time.Now()
		d.close(ctx)
		if took := time.Since(begin); took != time.Second {
			t.Errorf("it closed after %v", took)
		}
		d.leave()
	})
}
