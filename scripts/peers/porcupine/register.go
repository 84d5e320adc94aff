package main

import (
	"encoding/json"
	"fmt"

	"github.com/anishathalye/porcupine"
)

type registerOp uint8

const (
	readOp registerOp = iota
	writeOp
	casOp
)

type registerInput struct {
	op   registerOp
	from int
	to   int
}

type registerOutput struct {
	value   int
	swapped bool
	unknown bool
}

// What a register holds before it was written.
const null = -1

var registerModel = porcupine.Model{
	Init: func() any { return null },
	Step: func(state, input, output any) (bool, any) {
		value, in, out := state.(int), input.(registerInput), output.(registerOutput)
		switch in.op {
		case readOp:
			return out.unknown || out.value == value, value
		case writeOp:
			return true, in.to
		default:
			if in.from == value {
				return out.unknown || out.swapped, in.to
			}
			return out.unknown || !out.swapped, value
		}
	},
	Hash: func(state any) uint64 { return uint64(state.(int)) },
}

func decodeRegister(op, ret json.RawMessage) (any, any, error) {
	var input registerInput
	var asked struct {
		Write *int
		Cas   *[2]int
	}
	if string(op) != `"read"` {
		if err := json.Unmarshal(op, &asked); err != nil {
			return nil, nil, err
		}
		switch {
		case asked.Write != nil:
			input = registerInput{op: writeOp, to: *asked.Write}
		case asked.Cas != nil:
			input = registerInput{op: casOp, from: asked.Cas[0], to: asked.Cas[1]}
		default:
			return nil, nil, fmt.Errorf("no operation: %s", op)
		}
	}
	switch string(ret) {
	case "":
		return input, registerOutput{unknown: true}, nil
	case `"written"`, `"differs"`:
		return input, registerOutput{}, nil
	case `"swapped"`:
		return input, registerOutput{swapped: true}, nil
	}
	var told struct{ Value *int }
	if err := json.Unmarshal(ret, &told); err != nil {
		return nil, nil, err
	}
	if told.Value == nil {
		return input, registerOutput{value: null}, nil
	}
	return input, registerOutput{value: *told.Value}, nil
}
