package gguffuse

import "fmt"

// Status is what the library returns; the constants Err... are its values, for errors.Is.
type Status int32

// The sentinels, one per status of the library, with the numbers of its C header.
const (
	ErrNullArgument       Status = 1
	ErrInvalidHandle      Status = 2 // closed
	ErrInvalidArgument    Status = 3
	ErrIO                 Status = 4 // the operating system refused; a file that isn't there is fs.ErrNotExist as well
	ErrBadFormat          Status = 5
	ErrTruncated          Status = 6
	ErrLimit              Status = 7
	ErrUnsupportedVersion Status = 8
	ErrUnsupportedType    Status = 9
	ErrNotFound           Status = 10
	ErrTypeMismatch       Status = 11
	ErrShape              Status = 12
	ErrBufferTooSmall     Status = 13
	ErrAliasing           Status = 14
	ErrMisaligned         Status = 15
	ErrOutOfMemory        Status = 16
	ErrBusy               Status = 17
	ErrInternal           Status = 18 // a bug in the library, caught
	ErrUnsupportedISA     Status = 19
	ErrChanged            Status = 20 // the file is no longer the one that was opened
)

// Error is the status's name, as in "NOT_FOUND".
func (s Status) Error() string {
	if load() != nil {
		return fmt.Sprintf("status %d", int32(s))
	}
	return goString(cStatusName(int32(s)))
}

// Error is a call that the library has refused.
type Error struct {
	Status Status // errors.Is compares it with the sentinels
	Text   string // what was wrong, where, and why
	cause  error  // of the operating system
}

func (e *Error) Error() string { return "gguffuse: " + e.Text }

// Unwrap gives the status and, where there is one, the operating system's error.
func (e *Error) Unwrap() []error {
	if e.cause != nil {
		return []error{e.Status, e.cause}
	}
	return []error{e.Status}
}
