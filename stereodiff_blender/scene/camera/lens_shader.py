"""The camera shader, in Open Shading Language, through which Cycles renders CG as a lens with distortion shoots it."""

from __future__ import annotations

SOURCE = """\
// The lens of a StereoDiff result, for a Custom camera in Cycles, in the meaning of OpenCV: pinhole with the distortion
// of Brown (1966), or, where fisheye is 1, an angle off the axis bent by k1 to k4 (Kannala and Brandt 2006). fx, fy,
// cx, cy in pixels of a plate of width x height, from its left and top edge.

float bent(float squared, float k1, float k2, float k3, float k4)
{
    return 1.0 + squared * (k1 + squared * (k2 + squared * (k3 + squared * k4)));
}

// Newton's method on the radius, which the radial part alone changes; of a fisheye, on the angle.
float ideal_radius(float wanted, float k1, float k2, float k3, float k4)
{
    float radius = wanted;
    for (int round = 0; round < 12; round++) {
        float squared = radius * radius;
        float slope = 1.0 + squared * (3.0 * k1 + squared * (5.0 * k2 + squared * (7.0 * k3 + squared * 9.0 * k4)));
        radius = max(radius - (radius * bent(squared, k1, k2, k3, k4) - wanted) / max(slope, 0.05), 0.0);
    }
    return radius;
}

shader stereodiff_lens(float width = 1920.0, float height = 1080.0, float fx = 1920.0, float fy = 1920.0,
                       float cx = 960.0, float cy = 540.0, float k1 = 0.0, float k2 = 0.0, float k3 = 0.0,
                       float k4 = 0.0, float p1 = 0.0, float p2 = 0.0, float fisheye = 0.0,
                       output point position = point(0.0), output vector direction = vector(0.0, 0.0, 1.0),
                       output color throughput = color(1.0))
{
    point place = camera_shader_raster_position();
    float wanted_x = (place[0] * width - cx) / fx;
    float wanted_y = ((1.0 - place[1]) * height - cy) / fy;
    float wanted = sqrt(wanted_x * wanted_x + wanted_y * wanted_y);
    float ideal = ideal_radius(wanted, k1, k2, k3, k4);
    float scale = wanted > 0.0 ? (fisheye > 0.5 ? tan(ideal) : ideal) / wanted : 1.0;
    float x = wanted_x * scale;
    float y = wanted_y * scale;

    // Newton's method in the plane, for the tangential part.
    for (int round = 0; round < 6 && (p1 != 0.0 || p2 != 0.0); round++) {
        float squared = x * x + y * y;
        float radial = bent(squared, k1, k2, k3, 0.0);
        float slope = 2.0 * (k1 + squared * (2.0 * k2 + squared * 3.0 * k3));
        float miss_x = x * radial + 2.0 * p1 * x * y + p2 * (squared + 2.0 * x * x) - wanted_x;
        float miss_y = y * radial + p1 * (squared + 2.0 * y * y) + 2.0 * p2 * x * y - wanted_y;
        float xx = radial + slope * x * x + 2.0 * p1 * y + 6.0 * p2 * x;
        float yy = radial + slope * y * y + 6.0 * p1 * y + 2.0 * p2 * x;
        float xy = slope * x * y + 2.0 * p1 * x + 2.0 * p2 * y;
        float area = xx * yy - xy * xy;
        x -= (yy * miss_x - xy * miss_y) / area;
        y -= (xx * miss_y - xy * miss_x) / area;
    }
    direction = normalize(vector(x, -y, 1.0));
}
"""
