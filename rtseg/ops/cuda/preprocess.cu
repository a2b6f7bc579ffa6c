// Camera bytes to a network's input in one kernel: decode, resize, normalize, transpose, as float or half.
//
// Arithmetic is that of rtseg/ops/preprocess.py: columns first, then along the row, with fused multiply-adds, rounded to
// bytes before normalizing, so that training, CPU and GPU see the same picture.

#include "common.cuh"

enum Encoding { BGR8, RGB8, BGRA8, RGBA8, MONO8, YUV422, YUV422_YUY2 };

struct Pixel {
    float blue, green, red;
};

__device__ __forceinline__ float clamp_byte(int fixed_point) {  // 20 fractional bits, rounded
    const int value = (fixed_point + (1 << 19)) >> 20;
    return (float)(value < 0 ? 0 : value > 255 ? 255 : value);
}

// ITU-R BT.601, studio range, in OpenCV's fixed point: the same bytes as cv2.cvtColor gives.
__device__ __forceinline__ Pixel from_yuv(int luma, int u, int v) {
    const int y = (luma > 16 ? luma - 16 : 0) * 1220542;
    u -= 128;
    v -= 128;
    return {clamp_byte(y + 2116026 * u), clamp_byte(y - 409993 * u - 852492 * v), clamp_byte(y + 1673527 * v)};
}

template <int encoding>
__device__ __forceinline__ Pixel read_pixel(const u8* row, int x) {
    if (encoding == MONO8) {
        const float gray = (float)row[x];
        return {gray, gray, gray};
    }
    if (encoding == YUV422 || encoding == YUV422_YUY2) {
        const u8* pair = row + x / 2 * 4;  // U Y V Y, or Y U Y V
        const int luma = encoding == YUV422 ? 1 : 0, chroma = 1 - luma;
        return from_yuv(pair[luma + x % 2 * 2], pair[chroma], pair[chroma + 2]);
    }
    const u8* p = row + x * (encoding == BGR8 || encoding == RGB8 ? 3 : 4);
    if (encoding == RGB8 || encoding == RGBA8) return {(float)p[2], (float)p[1], (float)p[0]};
    return {(float)p[0], (float)p[1], (float)p[2]};
}

// One target pixel: the filter's rows are y_weights[y * y_taps ...] from source row y_first[y] on, columns likewise.
template <int encoding>
__device__ __forceinline__ void filter_pixel(const u8* image, int step, const int* y_first, const float* y_weights,
                                             int y_taps, const int* x_first, const float* x_weights, int x_taps, int y,
                                             int x, int* bgr) {
    Pixel sum = {0.5f, 0.5f, 0.5f};  // a half more, so that truncation rounds
    const u8* top = image + (i64)y_first[y] * step;
    const float* down = y_weights + y * y_taps;
    for (int i = 0; i < x_taps; ++i) {
        const int column = x_first[x] + i;
        Pixel sample = read_pixel<encoding>(top, column);
        sample.blue *= down[0];
        sample.green *= down[0];
        sample.red *= down[0];
        for (int j = 1; j < y_taps; ++j) {
            const Pixel next = read_pixel<encoding>(top + (i64)j * step, column);
            sample.blue = fmaf(next.blue, down[j], sample.blue);
            sample.green = fmaf(next.green, down[j], sample.green);
            sample.red = fmaf(next.red, down[j], sample.red);
        }
        const float weight = x_weights[x * x_taps + i];
        sum.blue = fmaf(sample.blue, weight, sum.blue);
        sum.green = fmaf(sample.green, weight, sum.green);
        sum.red = fmaf(sample.red, weight, sum.red);
    }
    bgr[0] = (int)sum.blue;
    bgr[1] = (int)sum.green;
    bgr[2] = (int)sum.red;
}

__device__ __forceinline__ void filter_any(int encoding, const u8* image, int step, const int* y_first,
                                           const float* y_weights, int y_taps, const int* x_first,
                                           const float* x_weights, int x_taps, int y, int x, int* bgr) {
#define CASE(name)                                                                                                    \
    case name:                                                                                                        \
        filter_pixel<name>(image, step, y_first, y_weights, y_taps, x_first, x_weights, x_taps, y, x, bgr);            \
        break;
    switch (encoding) {
        CASE(BGR8)
        CASE(RGB8)
        CASE(BGRA8)
        CASE(RGBA8)
        CASE(MONO8)
        CASE(YUV422)
        CASE(YUV422_YUY2)
    }
#undef CASE
}

// IEEE half from float, to nearest, ties to even; written out because headers are not included here.
__device__ __forceinline__ unsigned short half_bits(float value) {
    const u32 bits = (u32)__float_as_int(value), sign = bits >> 16 & 0x8000u, magnitude = bits & 0x7fffffffu;
    if (magnitude > 0x7f800000u) return (unsigned short)(sign | 0x7e00u);   // NaN
    if (magnitude >= 0x477ff000u) return (unsigned short)(sign | 0x7c00u);  // 65520 and more round to infinity
    if (magnitude < 0x38800000u) {  // below 2**-14: a multiple of 2**-24; adding 1/2 shifts the bits there, rounded
        const float shifted = __int_as_float((int)magnitude) + 0.5f;
        return (unsigned short)(sign | ((u32)__float_as_int(shifted) - 0x3f000000u));
    }
    const u32 rounded = magnitude + 0xfffu + (magnitude >> 13 & 1u);
    return (unsigned short)(sign | (rounded - 0x38000000u) >> 13);
}

// image rows lie `step` bytes apart. channel[c] of scale and shift (3 each) belongs to plane c, which holds channel
// 2 - c of the BGR picture when `reverse` is set, else channel c. out (3, rows, columns).
extern "C" __global__ void __launch_bounds__(256)
    preprocess_float(const u8* image, int encoding, int step, const int* y_first, const float* y_weights, int y_taps,
                     const int* x_first, const float* x_weights, int x_taps, const float* scale, const float* shift,
                     int reverse, float* out, int rows, int columns) {
    const int x = blockIdx.x * blockDim.x + threadIdx.x, y = blockIdx.y * blockDim.y + threadIdx.y;
    if (x >= columns || y >= rows) return;
    int bgr[3];
    filter_any(encoding, image, step, y_first, y_weights, y_taps, x_first, x_weights, x_taps, y, x, bgr);
    for (int c = 0; c < 3; ++c)
        out[((i64)c * rows + y) * columns + x] = (float)bgr[reverse ? 2 - c : c] * scale[c] + shift[c];
}

extern "C" __global__ void __launch_bounds__(256)
    preprocess_half(const u8* image, int encoding, int step, const int* y_first, const float* y_weights, int y_taps,
                    const int* x_first, const float* x_weights, int x_taps, const float* scale, const float* shift,
                    int reverse, unsigned short* out, int rows, int columns) {
    const int x = blockIdx.x * blockDim.x + threadIdx.x, y = blockIdx.y * blockDim.y + threadIdx.y;
    if (x >= columns || y >= rows) return;
    int bgr[3];
    filter_any(encoding, image, step, y_first, y_weights, y_taps, x_first, x_weights, x_taps, y, x, bgr);
    for (int c = 0; c < 3; ++c)
        out[((i64)c * rows + y) * columns + x] = half_bits((float)bgr[reverse ? 2 - c : c] * scale[c] + shift[c]);
}

// out (rows, columns, 3) BGR bytes.
extern "C" __global__ void __launch_bounds__(256)
    resize_bytes(const u8* image, int encoding, int step, const int* y_first, const float* y_weights, int y_taps,
                 const int* x_first, const float* x_weights, int x_taps, u8* out, int rows, int columns) {
    const int x = blockIdx.x * blockDim.x + threadIdx.x, y = blockIdx.y * blockDim.y + threadIdx.y;
    if (x >= columns || y >= rows) return;
    int bgr[3];
    filter_any(encoding, image, step, y_first, y_weights, y_taps, x_first, x_weights, x_taps, y, x, bgr);
    for (int c = 0; c < 3; ++c) out[((i64)y * columns + x) * 3 + c] = (u8)bgr[c];
}
