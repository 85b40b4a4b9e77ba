//! Features by ONNX files, written here byte by byte.

use host::data::Images;
use host::risk::features::Extractor;
use tempfile::tempdir;

/// A protobuf field of bytes.
fn bytes(number: u8, content: &[u8]) -> Vec<u8> {
    let mut out = vec![number << 3 | 2];
    let mut len = content.len();
    while len >= 0x80 {
        out.push(len as u8 | 0x80);
        len >>= 7;
    }
    out.push(len as u8);
    out.extend_from_slice(content);
    out
}

/// A protobuf field of a number below 128.
fn number(field: u8, value: u8) -> Vec<u8> {
    vec![field << 3, value]
}

/// `ValueInfoProto` of `f32` and these dimensions; 0 is any.
fn value(name: &str, dims: &[u8]) -> Vec<u8> {
    let dims = dims.iter().map(|&dim| match dim {
        0 => bytes(1, &bytes(2, b"n")),
        dim => bytes(1, &number(1, dim)),
    });
    let dims: Vec<u8> = dims.flatten().collect();
    let tensor = [number(1, 1), bytes(2, &dims)].concat();
    [bytes(1, name.as_bytes()), bytes(2, &bytes(1, &tensor))].concat()
}

/// `ModelProto`: means of two by two values, then flat.
fn pooling(input: &[u8]) -> Vec<u8> {
    let ints = |name: &str, v: u8| {
        let values = [number(8, v), number(8, v)].concat();
        bytes(
            5,
            &[
                bytes(1, name.as_bytes()),
                values,
                vec![20 << 3 & 0x7f | 0x80, 1, 7],
            ]
            .concat(),
        )
    };
    let node = |from: &str, to: &str, op: &str, attributes: &[u8]| {
        let names = [bytes(1, from.as_bytes()), bytes(2, to.as_bytes())].concat();
        bytes(
            1,
            &[names, bytes(4, op.as_bytes()), attributes.to_vec()].concat(),
        )
    };
    let pool = [ints("kernel_shape", 2), ints("strides", 2)].concat();
    let graph = [
        node("x", "p", "AveragePool", &pool),
        node("p", "y", "Flatten", &[]),
        bytes(2, b"g"),
        bytes(11, &value("x", input)),
        bytes(12, &value("y", &[0, 0])),
    ];
    let opset = bytes(8, &number(2, 13));
    [number(1, 8), bytes(7, &graph.concat()), opset].concat()
}

fn pictures() -> Images {
    let pixel = |i: usize| (i * 37 % 251) as u8;
    Images {
        height: 6,
        width: 4,
        channels: 3,
        pixels: (0..40 * 72).map(pixel).collect(),
        labels: Vec::new(),
    }
}

#[test]
fn onnx_files_see_rgb_from_0_to_1_in_planes() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("pool.onnx");
    std::fs::write(&path, pooling(&[0, 3, 6, 4])).unwrap();
    let extractor = Extractor::read_onnx(&path).unwrap();
    assert!(extractor.describe().contains("pool.onnx"));
    let images = pictures();
    let points = extractor.features(&images).unwrap();
    assert_eq!((points.len(), points.width), (40, 3 * 3 * 2));
    for i in 0..40 {
        let at = |y: usize, x: usize, c: usize| f32::from(images.image(i)[(y * 4 + x) * 3 + c]);
        for (k, &found) in points.row(i).iter().enumerate() {
            let (c, y, x) = (k / 6, k / 2 % 3 * 2, k % 2 * 2);
            let sum = at(y, x, c) + at(y, x + 1, c) + at(y + 1, x, c) + at(y + 1, x + 1, c);
            assert!((found - sum / 4.0 / 255.0).abs() < 1e-5, "{i} {k}");
        }
    }
    assert!(extractor.classify(&points).unwrap().is_none());
}

#[test]
fn pictures_are_brought_to_the_size_and_channels_that_an_onnx_file_wants() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("grey.onnx");
    std::fs::write(&path, pooling(&[0, 1, 12, 8])).unwrap();
    let extractor = Extractor::read_onnx(&path).unwrap();
    let mut images = pictures();
    images.pixels.fill(51);
    let points = extractor.features(&images).unwrap();
    assert_eq!(points.width, 6 * 4);
    assert!(points.values.iter().all(|v| (v - 0.2).abs() < 1e-4));
}

#[test]
fn what_is_no_such_file_is_an_error() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("wrong.onnx");
    for wrong in [
        b"no protobuf".to_vec(),
        pooling(&[0, 3, 6]),
        pooling(&[0, 2, 6, 4]),
    ] {
        std::fs::write(&path, wrong).unwrap();
        let error = Extractor::read_onnx(&path).err().unwrap().to_string();
        assert!(
            error.contains("wrong.onnx holds no usable features"),
            "{error}"
        );
    }
    assert!(Extractor::read_onnx(&dir.path().join("none.onnx")).is_err());
}
