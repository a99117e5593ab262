package pgquery

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"math"
	"reflect"
	"time"
)

// isPortable reports whether an unsigned cursor can hold values of the type. Every decoded value is
// then one that the server accepts, for each column that package pgquerytest accepts for the type.
// Other types travel as JSON, and this package does not know what they accept.
func isPortable(t reflect.Type) bool {
	switch t.Kind() {
	case reflect.String, reflect.Bool, reflect.Float32, reflect.Float64,
		reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32:
		return true
	case reflect.Array, reflect.Slice:
		return t.Elem().Kind() == reflect.Uint8 && t != reflect.TypeFor[json.RawMessage]()
	case reflect.Struct:
		if !hasValid(t) {
			return t == reflect.TypeFor[time.Time]()
		}
		for i := range t.NumField() { // pgtype.Text and the like
			if f := t.Field(i); !f.IsExported() || !isPortable(f.Type) {
				return false
			}
		}
		return true
	}
	return false
}

// appendValue appends a value to a cursor.
func appendValue(b []byte, v reflect.Value) ([]byte, error) {
	if reason := checkValue(v, 0); reason != "" {
		return b, errors.New("the value " + reason)
	}
	t := v.Type()
	switch {
	case !isPortable(t):
		text, err := json.Marshal(v.Interface())
		return appendString(b, string(text)), err
	case v.CanInt():
		return binary.AppendVarint(b, v.Int()), nil
	case v.CanUint():
		return binary.AppendUvarint(b, v.Uint()), nil
	case v.CanFloat():
		return binary.BigEndian.AppendUint64(b, math.Float64bits(v.Float())), nil
	}
	switch t.Kind() {
	case reflect.Bool:
		return append(b, boolByte(v.Bool())), nil
	case reflect.String:
		return appendString(b, v.String()), nil
	case reflect.Slice:
		return appendString(b, string(v.Bytes())), nil
	case reflect.Array:
		for i := range v.Len() {
			b = append(b, byte(v.Index(i).Uint()))
		}
		return b, nil
	}
	if !hasValid(t) { // the server keeps microseconds, too
		return binary.AppendVarint(b, v.Interface().(time.Time).UnixMicro()), nil
	}
	var err error
	for i := 0; i < v.NumField() && err == nil; i++ {
		b, err = appendValue(b, v.Field(i))
	}
	return b, err
}

// value reads a value into v, or fails.
func (d *decoder) value(v reflect.Value) {
	t := v.Type()
	switch {
	case !isPortable(t):
		d.failed = json.Unmarshal(d.bytes(), v.Addr().Interface()) != nil || d.failed
	case v.CanInt():
		i := d.varint()
		d.failed = d.failed || v.OverflowInt(i)
		v.SetInt(i)
	case v.CanUint():
		u := d.uvarint()
		d.failed = d.failed || v.OverflowUint(u)
		v.SetUint(u)
	case v.CanFloat():
		if b := d.take(8); b != nil {
			f := math.Float64frombits(binary.BigEndian.Uint64(b))
			d.failed = d.failed || v.OverflowFloat(f)
			v.SetFloat(f)
		}
	case t.Kind() == reflect.Bool:
		v.SetBool(d.bool())
	case t.Kind() == reflect.String:
		v.SetString(string(d.bytes()))
	case t.Kind() == reflect.Slice:
		v.SetBytes(append([]byte{}, d.bytes()...))
	case t.Kind() == reflect.Array:
		for i, c := range d.take(v.Len()) {
			v.Index(i).SetUint(uint64(c))
		}
	case !hasValid(t):
		v.Set(reflect.ValueOf(time.UnixMicro(d.varint()).UTC()))
	default:
		for i := range v.NumField() {
			d.value(v.Field(i))
		}
		// pgx would send any other infinity as garbage. Null has its own flag.
		if infinity := v.FieldByName("InfinityModifier"); infinity.IsValid() && infinity.CanInt() {
			d.failed = d.failed || infinity.Int() < -1 || infinity.Int() > 1
		}
		d.failed = d.failed || !v.FieldByName("Valid").Bool()
	}
	d.failed = d.failed || checkValue(v, 0) != ""
}
