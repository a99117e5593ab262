package fault

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
)

// Codes in the first message of a connection (PostgreSQL's manual, "Message Formats").
const (
	codeCancel = 80877102
	codeSSL    = 80877103
	codeGSS    = 80877104
)

// maxMessage is PostgreSQL's own limit (PQ_LARGE_MESSAGE_LIMIT).
const maxMessage = 1<<30 - 1

var errLength = errors.New("a message of impossible length")

// message is one message of the protocol, whole: a type, a length, and the body. The first message
// of a connection has no type.
type message []byte

// readFirst reads a message without a type, and returns its code.
func readFirst(r io.Reader) (code uint32, m message, err error) {
	head := make([]byte, 8)
	if _, err := io.ReadFull(r, head); err != nil {
		return 0, nil, err
	}
	m, err = readBody(r, head, int64(binary.BigEndian.Uint32(head))-8)
	return binary.BigEndian.Uint32(head[4:]), m, err
}

func readMessage(r io.Reader) (message, error) {
	head := make([]byte, 5)
	if _, err := io.ReadFull(r, head); err != nil {
		return nil, err
	}
	return readBody(r, head, int64(binary.BigEndian.Uint32(head[1:]))-4)
}

func readBody(r io.Reader, head []byte, n int64) (message, error) {
	if n < 0 || n > maxMessage {
		return nil, errLength
	}
	body := bytes.NewBuffer(head) // grows with what arrives, not with what the length promises
	if _, err := io.CopyN(body, r, n); err != nil {
		return nil, err
	}
	return body.Bytes(), nil
}

func (m message) kind() byte { return m[0] }

// strings returns the first n of the strings that the body begins with.
func (m message) strings(n int) []string {
	parts := bytes.SplitN(m[5:], []byte{0}, n+1)
	found := make([]string, n)
	for i := range min(n, len(parts)) {
		found[i] = string(parts[i])
	}
	return found
}

// cut returns the first message of data, which holds whole ones, and the rest.
func cutMessage(data []byte) (m message, rest []byte) {
	n := 1 + binary.BigEndian.Uint32(data[1:])
	return data[:n], data[n:]
}
