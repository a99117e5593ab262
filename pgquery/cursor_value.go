package pgquery

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"math"
	"reflect"
	"time"
)

// codec puts values of a type into a cursor. What it decodes is a value that the server accepts for
// a column that package pgquerytest accepts for the type.
type codec struct {
	encode func([]byte, reflect.Value) ([]byte, error)
	decode func(*decoder, reflect.Value) // sets the value, or fails the decoder
}

// codecOf returns the codec of a type. The second result is false for a type that travels as JSON:
// the type decides then what it accepts, and the cursor has to be signed.
func codecOf(t reflect.Type) (codec, bool) {
	if t == reflect.TypeFor[time.Time]() {
		return checkedCodec(timeCodec), true
	}
	switch t.Kind() {
	case reflect.String:
		return checkedCodec(stringCodec), true
	case reflect.Bool:
		return boolCodec, true
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return checkedCodec(intCodec), true
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32:
		return checkedCodec(uintCodec), true
	case reflect.Float32, reflect.Float64:
		return floatCodec, true
	case reflect.Array:
		if t.Elem().Kind() == reflect.Uint8 {
			return arrayCodec, true
		}
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Uint8 && t != reflect.TypeFor[json.RawMessage]() {
			return bytesCodec, true
		}
	case reflect.Struct:
		if hasValid(t) {
			return structCodec(t)
		}
	}
	return jsonCodec, false
}

// checkedCodec refuses what an argument refuses.
func checkedCodec(c codec) codec {
	checked := codec{decode: func(d *decoder, v reflect.Value) {
		c.decode(d, v)
		d.failed = d.failed || checkValue(v, 0) != ""
	}}
	checked.encode = func(b []byte, v reflect.Value) ([]byte, error) {
		if reason := checkValue(v, 0); reason != "" {
			return b, errors.New("the value " + reason)
		}
		return c.encode(b, v)
	}
	return checked
}

var stringCodec = codec{
	encode: func(b []byte, v reflect.Value) ([]byte, error) { return appendString(b, v.String()), nil },
	decode: func(d *decoder, v reflect.Value) { v.SetString(d.string()) },
}

var boolCodec = codec{
	encode: func(b []byte, v reflect.Value) ([]byte, error) { return append(b, boolByte(v.Bool())), nil },
	decode: func(d *decoder, v reflect.Value) { v.SetBool(d.bool()) },
}

var intCodec = codec{
	encode: func(b []byte, v reflect.Value) ([]byte, error) { return binary.AppendVarint(b, v.Int()), nil },
	decode: func(d *decoder, v reflect.Value) {
		i := d.varint()
		d.failed = d.failed || v.OverflowInt(i)
		v.SetInt(i)
	},
}

var uintCodec = codec{
	encode: func(b []byte, v reflect.Value) ([]byte, error) { return binary.AppendUvarint(b, v.Uint()), nil },
	decode: func(d *decoder, v reflect.Value) {
		u := d.uvarint()
		d.failed = d.failed || v.OverflowUint(u)
		v.SetUint(u)
	},
}

var floatCodec = codec{
	encode: func(b []byte, v reflect.Value) ([]byte, error) {
		return binary.BigEndian.AppendUint64(b, math.Float64bits(v.Float())), nil
	},
	decode: func(d *decoder, v reflect.Value) {
		if b := d.take(8); b != nil {
			f := math.Float64frombits(binary.BigEndian.Uint64(b))
			d.failed = d.failed || v.OverflowFloat(f)
			v.SetFloat(f)
		}
	},
}

// timeCodec keeps microseconds, as the server does, in UTC.
var timeCodec = codec{
	encode: func(b []byte, v reflect.Value) ([]byte, error) {
		return binary.AppendVarint(b, v.Interface().(time.Time).UnixMicro()), nil
	},
	decode: func(d *decoder, v reflect.Value) {
		v.Set(reflect.ValueOf(time.UnixMicro(d.varint()).UTC()))
	},
}

var arrayCodec = codec{
	encode: func(b []byte, v reflect.Value) ([]byte, error) {
		for i := range v.Len() {
			b = append(b, byte(v.Index(i).Uint()))
		}
		return b, nil
	},
	decode: func(d *decoder, v reflect.Value) {
		for i, c := range d.take(v.Len()) {
			v.Index(i).SetUint(uint64(c))
		}
	},
}

var bytesCodec = codec{
	encode: func(b []byte, v reflect.Value) ([]byte, error) { return appendString(b, string(v.Bytes())), nil },
	decode: func(d *decoder, v reflect.Value) { v.SetBytes([]byte(d.string())) },
}

// structCodec is for structs such as pgtype.Text: their other fields, one after the other. Valid is
// true, because null is said before.
func structCodec(t reflect.Type) (codec, bool) {
	type part struct {
		index int
		codec
	}
	var parts []part
	for i := range t.NumField() {
		f := t.Field(i)
		if f.Name == "Valid" {
			continue
		}
		c, ok := codecOf(f.Type)
		if !ok || !f.IsExported() || f.Name == "InfinityModifier" && f.Type.Kind() != reflect.Int8 {
			return jsonCodec, false
		}
		if f.Name == "InfinityModifier" {
			c = infinityCodec
		}
		parts = append(parts, part{i, c})
	}
	return codec{
		encode: func(b []byte, v reflect.Value) ([]byte, error) {
			var err error
			for _, p := range parts {
				if b, err = p.encode(b, v.Field(p.index)); err != nil {
					break
				}
			}
			return b, err
		},
		decode: func(d *decoder, v reflect.Value) {
			for _, p := range parts {
				p.decode(d, v.Field(p.index))
			}
			v.FieldByName("Valid").SetBool(true)
		},
	}, true
}

// infinityCodec is for pgtype.InfinityModifier, whose other values pgx would send as garbage.
var infinityCodec = codec{
	encode: intCodec.encode,
	decode: func(d *decoder, v reflect.Value) {
		i := d.varint()
		d.failed = d.failed || i < -1 || i > 1
		v.SetInt(int64(int8(i)))
	},
}

var jsonCodec = codec{
	encode: func(b []byte, v reflect.Value) ([]byte, error) {
		text, err := json.Marshal(v.Interface())
		return appendString(b, string(text)), err
	},
	decode: func(d *decoder, v reflect.Value) {
		d.failed = json.Unmarshal(d.bytes(), v.Addr().Interface()) != nil || d.failed
	},
}
