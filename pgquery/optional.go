package pgquery

import (
	"bytes"
	"database/sql"
	"database/sql/driver"
	"encoding/json"
	"errors"
	"reflect"
)

// Optional is a value that may be absent, null or present. The zero value is absent.
//
// In JSON a missing field stays absent, and null is null. An absent Optional is left out with the
// option omitzero, and written as null without it.
type Optional[T any] struct {
	value T
	state state
}

type state uint8

const (
	absent state = iota
	null
	present
)

// Value returns an Optional that holds v.
func Value[T any](v T) Optional[T] { return Optional[T]{value: v, state: present} }

// Null returns an Optional that is null.
func Null[T any]() Optional[T] { return Optional[T]{state: null} }

// Get returns the value, and false if it is absent or null.
func (o Optional[T]) Get() (T, bool) { return o.value, o.state == present }

// IsNull reports whether it is null.
func (o Optional[T]) IsNull() bool { return o.state == null }

// IsZero reports whether it is absent. Package encoding/json asks it for omitzero.
func (o Optional[T]) IsZero() bool { return o.state == absent }

// MarshalJSON implements [json.Marshaler].
func (o Optional[T]) MarshalJSON() ([]byte, error) {
	if o.state != present {
		return []byte("null"), nil
	}
	return json.Marshal(o.value)
}

// UnmarshalJSON implements [json.Unmarshaler]. It is only called for a field that is present.
func (o *Optional[T]) UnmarshalJSON(b []byte) error {
	if bytes.Equal(bytes.TrimSpace(b), []byte("null")) {
		*o = Null[T]()
		return nil
	}
	var v T
	if err := json.Unmarshal(b, &v); err != nil {
		return err
	}
	*o = Value(v)
	return nil
}

// Scan implements [sql.Scanner]. It never leaves o absent.
func (o *Optional[T]) Scan(src any) error {
	var n sql.Null[T]
	if err := n.Scan(src); err != nil {
		return err
	}
	*o = Null[T]()
	if n.Valid {
		*o = Value(n.V)
	}
	return nil
}

// Value implements [driver.Valuer]. An absent one is an error, because it must not become null.
func (o Optional[T]) Value() (driver.Value, error) {
	switch o.state {
	case absent:
		return nil, errors.New("pgquery: an absent Optional has no value to send")
	case null:
		return nil, nil
	}
	if v, ok := any(o.value).(driver.Valuer); ok {
		return v.Value()
	}
	return o.value, nil
}

// optional is implemented only by the Optional types.
type optional interface {
	optional() (any, state)
	inner() reflect.Type
}

func (o Optional[T]) optional() (any, state) { return o.value, o.state }
func (o Optional[T]) inner() reflect.Type    { return reflect.TypeFor[T]() }
