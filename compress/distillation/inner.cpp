#include "distillation/inner.h"

#include "bertx/error.h"

namespace bertx::compress {

// The teacher keeps no more than the states between its layers; what is inside of one is made again from its input.
TeacherAttention teacher_attention(Exec& exec, const TeacherView& teacher, std::size_t layer) {
  const EncoderLayer& of = teacher.model.layers[layer];
  const Tensor x = teacher.states[layer];
  const std::int64_t width = of.shape.heads * of.shape.head_dim;
  const Tensor qkv = exec.take(3 * width, x.cols);
  of.project(exec, x, qkv);
  return {qkv.row_range(0, width), qkv.row_range(width, width), qkv.row_range(2 * width, width)};
}

void require_layers(std::string_view kind, const Model& student, const Model& teacher, std::size_t least) {
  if (student.layers.size() < least || student.layers.size() > teacher.layers.size()) {
    fail(ErrorKind::usage, "distillation ", kind, ": found ", student.layers.size(),
         " layers of the student, expected ", least, " to ", teacher.layers.size(), ", as many as the teacher has");
  }
}

void require_equal_width(std::string_view kind, const Model& student, const Model& teacher) {
  if (student.config.hidden != teacher.config.hidden) {
    fail(ErrorKind::usage, "distillation ", kind, ": found hidden size ", student.config.hidden,
         " of the student, expected ", teacher.config.hidden, ", that of the teacher");
  }
}

void require_equal_heads(std::string_view kind, const Model& student, std::size_t layer, const Model& teacher,
                         std::size_t teacher_layer) {
  const std::int64_t found = student.layers[layer].shape.heads, expected = teacher.layers[teacher_layer].shape.heads;
  if (found != expected) {
    fail(ErrorKind::usage, "distillation ", kind, ": found ", found, " heads in layer ", layer,
         " of the student, expected ", expected, " as in layer ", teacher_layer,
         " of the teacher: attention is compared head by head");
  }
}

}  // namespace bertx::compress
