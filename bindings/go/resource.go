package gguffuse

import (
	"runtime"
	"sync"
	"unsafe"
)

// resource is an open handle of the library whose memory, or ours, calls read: they are counted, and the last of them, if
// need be, closes it. It knows nothing of the object that owns it: that one's cleanup closes it, too.
type resource struct {
	handle handle
	free   func(handle) int32
	closed *Error // of everything that needs it afterwards

	mu      sync.Mutex
	users   int
	isGone  bool
	release []func() // what was kept for it
}

// own makes the resource of an open handle that is closed when its owner is collected, if not before.
func own[T any](owner *T, h handle, free func(handle) int32, what string) *resource {
	r := &resource{handle: h, free: free, closed: &Error{Status: ErrInvalidHandle, Text: what + " is closed"}}
	runtime.AddCleanup(owner, func(r *resource) { r.close() }, r)
	return r
}

func (r *resource) enter() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.isGone {
		return r.closed
	}
	r.users++
	return nil
}

func (r *resource) leave() {
	r.mu.Lock()
	r.users--
	last := r.isGone && r.users == 0
	r.mu.Unlock()
	if last {
		r.end()
	}
}

// use runs a function of the library with the handle, which isn't closed before it is over.
func (r *resource) use(function func() error) error {
	if err := r.enter(); err != nil {
		return err
	}
	defer r.leave()
	return function()
}

// keep has release called when the handle is closed.
func (r *resource) keep(release func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.release = append(r.release, release)
}

func (r *resource) close() error {
	r.mu.Lock()
	if r.isGone {
		r.mu.Unlock()
		return r.closed
	}
	r.isGone = true
	last := r.users == 0
	r.mu.Unlock()
	if last {
		return r.end()
	}
	return nil
}

// end runs once, and nobody uses the handle any more.
func (r *resource) end() error {
	err := call(func() int32 { return r.free(r.handle) })
	for _, release := range r.release {
		release()
	}
	return err
}

// pin keeps a slice's memory where it is, for C to read after the call; what is returned ends that.
func pin[T any](slice []T) (unpin func()) {
	pinner := new(runtime.Pinner)
	if len(slice) > 0 {
		pinner.Pin(unsafe.SliceData(slice))
	}
	return pinner.Unpin
}
