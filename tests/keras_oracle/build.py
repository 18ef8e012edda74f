"""Build both published networks from real Keras layers, save them as .h5, and run them.

For the environment that `make keras-oracle` sets up (TensorFlow and tf_keras, which is Keras 2), not for the
package's own. Usage: build.py FOLDER

Writes into FOLDER, for each network, NETWORK-whole.h5 (`model.save` after one step of training with Adam, so
that the file holds optimiser state, and with the seeded weights put back), NETWORK-weights.h5
(`model.save_weights`) and NETWORK.npz (the answers of Keras).
"""

from pathlib import Path
import sys

import numpy as np
from seeded import INPUTS, arrays, image, layout
from tf_keras import Model, layers

EPSILON = 1.001e-5


def norm_relu(x, name, epsilon=EPSILON, relu=None):
    x = layers.BatchNormalization(epsilon=epsilon, name=name)(x)
    return layers.Activation("relu", name=relu or name.removesuffix("bn") + "relu")(x)


def covid19net():
    def conv(x, filters, name, size=3, strides=1):
        return layers.Conv3D(filters, size, strides=strides, padding="same", use_bias=False, name=name)(x)

    def dense_units(x, filters, count, name):
        for i in range(count):
            y = conv(norm_relu(x, f"{name}_{i}_0_bn"), filters, f"{name}_{i}_1_conv")
            y = conv(norm_relu(y, f"{name}_{i}_1_bn"), filters, f"{name}_{i}_2_conv")
            x = layers.Concatenate(name=f"{name}_{i}_concat")([x, y])
        return x

    def pool(x, size=2):
        return layers.MaxPooling3D(size, padding="same")(x)

    given = layers.Input((None, None, None, 1))
    x = norm_relu(conv(given, 16, "block0_conv1", strides=(1, 2, 2)), "block0_bn1", relu="block0_relu1")
    x = dense_units(conv(x, 16, "block0_conv2"), 16, 2, "block_11")
    x = pool(conv(norm_relu(x, "block13_trans_bn"), 16, "block13_trans_conv", size=1))
    x = dense_units(x, 24, 3, "block_21")
    x = pool(conv(norm_relu(x, "block23_trans_bn"), 24, "block23_trans_conv", size=1))
    x = norm_relu(pool(dense_units(x, 32, 4, "block_31")), "block_final_bn")
    x = pool(dense_units(x, 32, 2, "EGFR_block_11"), (1, 2, 2))
    x = conv(norm_relu(x, "EGFR_block_12_trans_bn"), 64, "EGFR_block_12_trans_conv", size=1)
    features = layers.GlobalAveragePooling3D(name="features")(x)
    probability = layers.Dense(1, activation="sigmoid", name="EGFR_global_pred")(features)
    return Model(given, probability)


def densenet121(given):
    """Return the skips, finest first."""

    def conv(x, filters, size, name, padding="same", strides=1):
        return layers.Conv2D(filters, size, strides=strides, padding=padding, use_bias=False, name=name)(x)

    x = conv(layers.ZeroPadding2D(3)(given), 64, 7, "conv1/conv", "valid", 2)
    skips = [norm_relu(x, "conv1/bn")]
    x = layers.MaxPooling2D(3, strides=2, name="pool1")(layers.ZeroPadding2D(1)(skips[0]))
    for block, count in enumerate((6, 12, 24, 16), 2):
        for i in range(1, count + 1):
            name = f"conv{block}_block{i}"
            y = conv(norm_relu(x, f"{name}_0_bn"), 128, 1, f"{name}_1_conv")
            y = conv(norm_relu(y, f"{name}_1_bn"), 32, 3, f"{name}_2_conv")
            x = layers.Concatenate(name=f"{name}_concat")([x, y])
        if block < 5:
            x = norm_relu(x, f"pool{block}_bn")
            skips.append(conv(x, x.shape[-1] // 2, 1, f"pool{block}_conv"))
            x = layers.AveragePooling2D(2, strides=2, name=f"pool{block}_pool")(skips[-1])
    return [*skips, norm_relu(x, "bn", relu="relu")]


def densenet_fpn():
    def block(x, name):
        x = layers.Conv2D(128, 3, padding="same", use_bias=False, name=f"{name}_conv")(x)
        return norm_relu(x, f"{name}_bn", epsilon=1e-3)

    given = layers.Input((None, None, 3))
    c1, c2, c3, c4, x = densenet121(given)
    x = layers.Conv2D(256, 1, padding="same", name="fpn_stage_p5_pre_conv")(x)
    levels = []
    for level, skip in zip((5, 4, 3, 2), (c4, c3, c2, c1), strict=True):
        skip = layers.Conv2D(256, 1, padding="same", name=f"fpn_stage_p{level}_conv")(skip)
        x = layers.Add()([layers.UpSampling2D(2)(x), skip])
        branch = block(block(x, f"segm_stage{level}a"), f"segm_stage{level}b")
        levels.append(branch if level == 2 else layers.UpSampling2D(2 ** (level - 2))(branch))
    x = block(layers.Concatenate()(levels[::-1]), "final_stage")
    x = layers.UpSampling2D(2, interpolation="bilinear")(x)
    x = layers.Conv2D(1, 3, padding="same", name="head_conv")(x)
    return Model(given, layers.Activation("sigmoid", name="sigmoid")(x))


def put_weights(model, values):
    """Set every array of the model by name; none may be left over on either side."""
    left = dict(values)
    for variable in model.weights:
        variable.assign(left.pop(variable.name.removesuffix(":0")))
    assert not left, sorted(left)


def answers(model, network, size):
    """Probability, and for COVID-19Net also logit and features, of one input."""
    given = image(network, size)[None]
    if network == "densenet_fpn":
        return {"probability": model(given, training=False).numpy()[0, :, :, 0]}
    features = Model(model.input, model.get_layer("features").output)(
        given[..., None], training=False
    ).numpy()[0]
    kernel, bias = model.get_layer("EGFR_global_pred").get_weights()
    probability = model(given[..., None], training=False).numpy().item()
    return {"features": features, "logit": features @ kernel[:, 0] + bias[0], "probability": probability}


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for network, build in {"covid19net": covid19net, "densenet_fpn": densenet_fpn}.items():
        model = build()
        sys.stdout.write(f"{network}: {model.count_params()} parameters, {len(model.weights)} arrays\n")
        values = arrays(layout(network))
        model.compile("adam", "binary_crossentropy")
        size = next(iter(INPUTS[network]))
        given = np.stack([image(network, size)] * 2).reshape(2, *INPUTS[network][size][:3], -1)
        model.train_on_batch(given, (model(given).numpy() > 0.4).astype(np.float32))
        put_weights(model, values)
        model.save(folder / f"{network}-whole.h5", save_format="h5")
        model.save_weights(folder / f"{network}-weights.h5", save_format="h5")
        found = {f"{s} {k}": v for s in INPUTS[network] for k, v in answers(model, network, s).items()}
        np.savez_compressed(folder / f"{network}.npz", **found)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
