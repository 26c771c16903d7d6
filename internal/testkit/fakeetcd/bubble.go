package fakeetcd

import (
	"sync"
	_ "unsafe" // for go:linkname

	_ "go.etcd.io/etcd/client/v3" // whose variable it is
)

// neverDone is what the client library gives watches for a context that never
// ends. It is made when the program starts, outside of any bubble of
// testing/synctest, so that a goroutine which waits for it stops virtual time. A
// context whose Done is nil never ends either, and nobody waits for it.
//
//go:linkname neverDone go.etcd.io/etcd/client/v3.valCtxCh
var neverDone chan struct{}

// enterBubbles has the library's variable be made anew, once.
var enterBubbles = sync.OnceFunc(func() { neverDone = nil })
